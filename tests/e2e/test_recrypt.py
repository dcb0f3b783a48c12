"""A VM's keys are changed while vCenter, its host or a key server falls: it is under one key, and
vCenter knows which."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from chaos.observe.look import all_vms
from protocol.errors import ProductError
from protocol.messages.host.session import QueryHost
from protocol.messages.host.vms import GuestChallenge
from protocol.messages.vcenter.vms import CreateVm, PowerOnVm, RecryptVm, VmRecrypted
from protocol.terms import ClusterName, CryptoKeyId, NodeName, VmName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim

A, VCENTER, VM = NodeName("esxi-001"), NodeName("vcenter"), VmName("one")
TASK = RecryptVm(operation_id="recrypt", vm=VM)
KNOBS = {"remediation_interval_s": 60}


@pytest.fixture
def world() -> Iterator[World]:
    made = World(seed=3, hosts=2, vms=0, key_persistence=True, knobs=KNOBS)
    made.run(_ready(made))
    yield made
    made.close()


async def _ready(world: World) -> None:
    cluster = ClusterName("cluster-a")
    create = CreateVm(operation_id="make", vm=VM, cluster=cluster, host=A, encrypted=True)
    await world.lab.ask(VCENTER, create, within_s=60)
    await world.lab.ask(VCENTER, PowerOnVm(vm=VM), within_s=60)


async def _tried(world: World) -> VmRecrypted | ProductError:
    try:
        return await world.lab.ask(VCENTER, TASK, within_s=30)
    except ProductError as error:
        return error


async def _known(world: World) -> CryptoKeyId | None:
    (vm,) = await all_vms(world.lab, VCENTER)
    return vm.key


async def _at_host(world: World) -> tuple[CryptoKeyId, ...]:
    summary = (await world.lab.ask(A, QueryHost())).summary
    return next(vm for vm in summary.vms if vm.vm == VM).keys


async def _works(world: World) -> None:
    await world.lab.ask(A, GuestChallenge(vm=VM, nonce=b"n", blocks=(1, 3)))


def test_a_repeat_of_the_operation_makes_no_second_key(world: World) -> None:
    first, again = world.run(_tried(world)), world.run(_tried(world))
    assert isinstance(first, VmRecrypted) and isinstance(again, VmRecrypted)
    assert (first.key, first.old) == (again.key, again.old) and first.key not in first.old
    world.run(_works(world))


@pytest.mark.slow
@pytest.mark.parametrize("at_s", [0.0, 0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize(
    ("node", "way"),
    [(VCENTER, "crash"), (VCENTER, "power_loss"), (A, "power_loss"), (NodeName("kms"), "crash")],
)
def test_who_falls_in_the_midst_leaves_it_under_one_key(
    world: World, node: NodeName, way: str, at_s: float
) -> None:
    """And vCenter's inventory says which, after a repeat of the task and without one."""
    lab = world.lab
    seen: dict[str, Any] = {}

    async def story() -> None:
        asked = asyncio.ensure_future(_tried(world))
        await lab.sleep(at_s)
        await lab.power_off(node, way)
        seen["first"] = await asked
        await lab.power_on(node)
        await lab.sleep(180)
        seen["without"] = (await _known(world), await _at_host(world))
        await _works(world)
        seen["again"] = await _tried(world)
        await lab.sleep(120)
        seen["after"] = (await _known(world), await _at_host(world))
        await lab.power_off(A, "power_loss")
        await lab.power_on(A)
        await lab.sleep(120)
        await _works(world)

    world.run(story())
    for known, at_host in (seen["without"], seen["after"]):
        assert at_host == (known,)
    assert isinstance(seen["again"], VmRecrypted) and seen["after"][0] == seen["again"].key
    if isinstance(seen["first"], VmRecrypted):
        assert seen["without"][0] == seen["first"].key, "what was answered is kept"
