"""How long one waits for a lab that is being built: as long as it advances."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from chaos.observe.look import all_hosts, all_vms
from lab.building.course import Course, Pace, unheard
from lab.building.provision import format_names, provision, start_nodes, wait_ready
from lab.schema.errors import KeysteadError
from lab.simulation.sim_lab import SimLab
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.errors import HostUnreachable, NotConnected, ProductError
from protocol.messages.agent import CutRule, NodeStatus
from protocol.messages.base import Request
from protocol.messages.host.session import Esxcli
from protocol.messages.vcenter.inventory import AddHost
from protocol.messages.vcenter.providers import ExportProvider, RetrieveKmipServerCert
from protocol.messages.vcenter.vms import ListVms
from protocol.terms import ClusterName, NodeName, PowerState, VmCryptoState

VCENTER, HOST = NodeName("vcenter"), NodeName("esxi-002")
CUT = tuple(CutRule(id="cut", src=src, dst=dst) for src, dst in ((VCENTER, HOST), (HOST, VCENTER)))


@contextmanager
def started(name: str, **changes: Any) -> Iterator[SimLab]:
    made = SimLab(plan(load(name, tpm="model", **changes)), 7)
    made.run(made.start())
    try:
        yield made
    finally:
        for store in made.world.stores.values():
            store.close()
        made.loop.close()


@pytest.fixture
def lab() -> Iterator[SimLab]:
    with started("default", hosts=3, vms=3) as made:
        yield made


def beside(lab: SimLab, work: Coroutine[Any, Any, Any], act: Callable[[], Any]) -> None:
    """Play ``work`` while ``act`` is played."""

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work)
            group.create_task(act())

    lab.run(both(), seconds=10_000)


def test_a_lab_comes_up_although_a_host_is_silent_for_longer_than_a_call_may_last(
    lab: SimLab,
) -> None:
    async def silent_for_a_while() -> None:
        await lab.put_rules(CUT)
        await lab.sleep(45)
        await lab.drop_rules("cut")

    beside(lab, provision(lab, unheard), silent_for_a_while)
    assert lab.monotonic() > 45


@pytest.mark.parametrize(
    ("asked", "message"),
    [("power_on", None), ("ask", Esxcli), ("ask", RetrieveKmipServerCert), ("ask", ExportProvider)],
)
def test_a_lab_comes_up_although_a_machine_is_away_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, asked: str, message: type[Request[Any]] | None
) -> None:
    """A host that joins again, a vCenter whose link is lost: each call is made again."""
    name = "kmip" if message is RetrieveKmipServerCert else "default"
    name = "native" if message is ExportProvider else name
    with started(name, hosts=2, vms=2, key_persistence=True) as lab:
        inner, away = getattr(lab, asked), [3]

        async def lost(node: NodeName, *args: Any, **options: Any) -> Any:
            if (message is None or isinstance(args[0], message)) and away[0]:
                away[0] -= 1
                raise NotConnected(f"the machine of {node} is away")
            return await inner(node, *args, **options)

        monkeypatch.setattr(lab, asked, lost)
        lab.run(provision(lab, unheard), seconds=10_000)
        assert away == [0]
        assert all(host.connection == "connected" for host in lab.run(all_hosts(lab, VCENTER)))


def test_a_lab_that_is_built_already_is_built_once_more_without_a_refusal(lab: SimLab) -> None:
    """As after a kill just before it was noted down that it is ready."""
    for _ in range(2):
        lab.run(provision(lab, unheard), seconds=10_000)
    vms = lab.run(all_vms(lab, VCENTER))
    assert [vm.vm for vm in vms] == ["vm-01", "vm-02", "vm-03"]


def test_what_does_not_advance_any_more_ends_with_what_was_last_said(lab: SimLab) -> None:
    async def build() -> None:
        await lab.put_rules(CUT)
        with pytest.raises(HostUnreachable, match=HOST):
            await provision(lab, unheard)

    lab.run(build(), seconds=10_000)


def test_a_wait_names_what_is_missing_when_no_more_of_it_comes(lab: SimLab) -> None:
    async def wait() -> float:
        await provision(lab, unheard)
        await lab.put_rules(CUT)
        await lab.sleep(60)
        begun = lab.monotonic()
        with pytest.raises(KeysteadError, match=f"hosts not connected: {HOST}; VMs"):
            await wait_ready(lab, Course(lab, unheard, 1))
        return lab.monotonic() - begun

    assert 60 < lab.run(wait(), seconds=10_000) < 120


def test_a_lab_that_is_started_again_has_its_vms_as_they_were(
    lab: SimLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The key server is slow to start: vCenter begins when it serves, and not before.

    A vCenter that found it silent would lock the VMs, and look again minutes later.
    """
    lab.run(provision(lab, unheard))
    power_on, kms = lab.power_on, NodeName("kms")

    async def slow(node: NodeName, *args: Any, **options: Any) -> NodeStatus:
        if node == kms:
            await lab.sleep(30)
        return await power_on(node, *args, **options)

    async def down_and_up() -> None:
        for node in (*lab.hosts(), VCENTER, kms):
            await lab.power_off(node, "stop")
        monkeypatch.setattr(lab, "power_on", slow)
        await start_nodes(lab, Course(lab, unheard, 3), strict=False)
        await lab.sleep(60)

    lab.run(down_and_up())
    vms = lab.run(lab.ask(VCENTER, ListVms())).vms
    assert {(vm.power, vm.crypto) for vm in vms} == {(PowerState.ON, VmCryptoState.UNLOCKED)}
    assert not [
        r for r in lab.records if r.kind == "provider.contact" and not r.fields["reachable"]
    ]


def test_each_thing_that_gets_done_begins_the_wait_anew(lab: SimLab) -> None:
    course = Course(lab, unheard, 1)
    assert course.stall_s == 60

    async def slow(item: int) -> bool:
        await lab.sleep(50)
        return course.stalled

    async def work() -> list[bool]:
        return await course.each(1, "slow things", range(5), slow, at_once=1)

    assert lab.run(work(), seconds=10_000) == [False] * 5
    lab.run(lab.sleep(61), seconds=100)
    assert course.stalled


def test_a_refusal_is_not_asked_again(lab: SimLab) -> None:
    async def build() -> float:
        await provision(lab, unheard)
        begun = lab.monotonic()
        with pytest.raises(ProductError, match="cluster-a already"):
            message = AddHost(host=HOST, cluster=ClusterName("another"))
            await Course(lab, unheard, 1).ask(VCENTER, message)
        return lab.monotonic() - begun

    assert lab.run(build(), seconds=10_000) < 1


def test_a_rate_and_the_time_that_remains_are_told_in_words() -> None:
    pace = Pace(300)
    pace.done = 120
    assert pace.text(8) == "120 of 300, 15 a second, about 12 s left"
    pace.done = 3
    assert pace.text(2) == "3 of 300, 1.5 a second, about 198 s left"


def test_of_many_names_the_first_are_told() -> None:
    assert format_names([]) == "none"
    assert format_names(["a", "b"]) == "a, b"
    assert format_names([str(n) for n in range(12)]) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"
