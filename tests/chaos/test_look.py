"""One VM is looked for where it should be first, and then wherever it is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest

from chaos.lab import Directory, NodeEntry
from chaos.observe.look import LabLook
from protocol.messages.vcenter.providers import CryptoKeyStatus, CryptoKeyStatusList
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    NodeName,
    PowerState,
    ProviderId,
    Role,
    VmName,
)
from tests.chaos.worlds import World

VM = VmName("vm-01")


class Asked:
    """The lab, and which hosts were asked together."""

    def __init__(self, world: World) -> None:
        self._lab = world.lab
        self.hosts: list[tuple[NodeName, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._lab, name)

    async def ask_each(self, nodes: Sequence[NodeName], *args: Any, **named: Any) -> Any:
        self.hosts.append(tuple(nodes))
        return await self._lab.ask_each(nodes, *args, **named)


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=3, vms=3)
    yield made
    made.close()


def test_a_vm_is_looked_for_where_it_should_be_and_then_everywhere(world: World) -> None:
    hosts = world.lab.hosts()
    asked: Any = Asked(world)
    home, seen = world.run(LabLook(asked).vms())[VM]
    assert seen.power is PowerState.ON
    asked.hosts.clear()
    assert world.run(LabLook(asked).vm(VM, home)) == (home, seen)
    assert asked.hosts == [(home,)]
    away = next(host for host in hosts if host != home)
    asked.hosts.clear()
    assert world.run(LabLook(asked).vm(VM, away)) == (home, seen)
    assert asked.hosts == [(away,), hosts]


def test_a_vm_is_nowhere_when_its_host_does_not_answer(world: World) -> None:
    home, _ = world.run(LabLook(world.lab).vms())[VM]
    world.run(world.lab.power_off(home, "power_loss"))
    assert world.run(LabLook(world.lab).vm(VM, home)) is None
    assert world.run(LabLook(world.lab).vm(VM, None)) is None


def test_a_look_that_has_asked_every_host_asks_none_again(world: World) -> None:
    asked: Any = Asked(world)
    look = LabLook(asked)
    home, seen = world.run(look.vms())[VM]
    assert world.run(look.vm(VM, home)) == (home, seen)
    assert asked.hosts == [world.lab.hosts()]


def test_of_two_hosts_that_list_a_vm_the_one_that_runs_it_is_its_host(world: World) -> None:
    first, second, *_ = world.lab.hosts()
    vm = next(
        seen for name, (home, seen) in world.run(LabLook(world.lab).vms()).items() if home == first
    )
    for power, host in ((PowerState.ON, first), (PowerState.OFF, first)):
        look, listed = LabLook(world.lab), msgspec.structs.replace(vm, power=power)
        seen = world.run(look.hosts())
        here = msgspec.structs.replace(seen[first], vms=(listed,))
        there = msgspec.structs.replace(
            seen[second], vms=(msgspec.structs.replace(vm, power=PowerState.OFF),)
        )
        look._hosts = {first: here, second: there}
        assert world.run(look.vms())[vm.vm] == (host, listed)


@pytest.mark.parametrize("stranger", ["ta-vcenter", "vcenter"])
@pytest.mark.parametrize(
    "why", [KeyUnavailableReason.CLUSTER_INVALID, KeyUnavailableReason.MISSING_IN_KMS]
)
def test_a_vcenter_that_does_not_get_a_key_does_not_speak_for_the_other(
    stranger: str, why: KeyUnavailableReason
) -> None:
    """It has no such provider, or the key is in the other one's scope."""
    key = CryptoKeyId(KeyId("k"), ProviderId("p"))

    class Two:
        """Two vCenters, of which one does not get the key."""

        def directory(self) -> Directory:
            names = ("vcenter", "ta-vcenter")
            nodes = [
                NodeEntry(node=NodeName(name), role=Role.VCENTER, site="main") for name in names
            ]
            return Directory(nodes=tuple(nodes), vms=())

        async def ask(self, node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
            reason = why if node == stranger else None
            status = CryptoKeyStatus(key=key, available=reason is None, reason=reason)
            return CryptoKeyStatusList(keys=(status,))

    lab: Any = Two()
    found = asyncio.run(LabLook(lab).key_status((key,)))
    assert found is not None and found[key].available
