"""Moves of VMs that were found to go wrong: cut off in the midst, two at once, between vCenters."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.errors import ProductError
from protocol.messages.agent import CutRule
from protocol.messages.base import Request
from protocol.messages.host.vms import CheckRelocate
from protocol.messages.vcenter.inventory import AddHost, EnterMaintenanceMode, RemoveHost
from protocol.messages.vcenter.vms import (
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    RegisterVm,
    RelocateVm,
    ServiceLocator,
    UnregisterVm,
)
from protocol.terms import ClusterName, NodeName, PowerState, VmName
from tests.e2e.cold_walk import EAST, WEST, Walk

pytestmark = pytest.mark.sim

A, B, C, D, E = (NodeName(f"esxi-00{n}") for n in range(1, 6))
ONE, TWO, THREE, FOUR = (VmName(f"vm-0{n}") for n in range(1, 5))  # on A, B, C and D


@pytest.fixture
def walk() -> Iterator[Walk]:
    made = Walk(3)
    yield made
    made.world.close()


async def said(walk: Walk, vcenter: NodeName, message: Request[Any]) -> str:
    """What came of a task."""
    try:
        await walk.lab.ask(vcenter, message, within_s=120)
    except ProductError as error:
        return f"{type(error).__name__}: {error}"
    return "ok"


def to_east(vm: VmName = ONE, host: NodeName = D) -> RelocateVm:
    return RelocateVm(vm=vm, service=ServiceLocator(vcenter=EAST), host=host)


async def cut(walk: Walk, *links: tuple[NodeName, NodeName]) -> None:
    await walk.lab.put_rules([CutRule(id="cut", src=src, dst=dst) for src, dst in links])


def place(walk: Walk, vm: VmName = ONE) -> tuple[list[NodeName], list[str], list[NodeName]]:
    """Whose it is, its host there, and which hosts list it."""
    owners = walk.owners(vm)
    rows = [inventory.vms[vm] for owner in owners if (inventory := walk.inventory(owner))]
    return owners, [str(row.host) for row in rows], walk.listing(vm)


async def lost_answers(walk: Walk, message: Request[Any], host: NodeName) -> asyncio.Task[str]:
    """Give a task whose host registers the VM, and cannot say so. One that is given now is next."""
    asked = await begun(walk, message, host)
    await cut(walk, (host, WEST))
    return asked


async def begun(walk: Walk, message: Request[Any], host: NodeName) -> asyncio.Task[str]:
    """Give a task on the first VM, and come back when that host lists it."""
    asked = asyncio.ensure_future(said(walk, WEST, message))
    while host not in walk.listing(ONE):
        await walk.lab.sleep(0.0001)
    return asked


def test_a_move_on_does_not_leave_it_where_the_last_one_ended_in_the_dark(walk: Walk) -> None:
    """A has it no more, and could not say so; it goes to C at once, from B."""

    async def story() -> None:
        await said(walk, WEST, PowerOffVm(vm=ONE))
        first = await begun(walk, MigrateVm(vm=ONE, host=B), B)
        second = asyncio.ensure_future(said(walk, WEST, MigrateVm(vm=ONE, host=C)))
        while A in walk.listing(ONE):
            await walk.lab.sleep(0.0001)
        await cut(walk, (A, WEST))
        assert "TimedOut" in await first
        await walk.lab.drop_rules("cut")
        assert await second == "ok"
        await walk.lab.sleep(60)
        assert place(walk) == ([WEST], [C], [C])

    walk.world.run(story())


@pytest.mark.parametrize("leave", [UnregisterVm(vm=ONE), to_east()], ids=["unregister", "relocate"])
def test_what_leaves_the_inventory_is_not_brought_back_by_it(
    walk: Walk, leave: Request[Any]
) -> None:
    async def story() -> None:
        await said(walk, WEST, PowerOffVm(vm=ONE))
        first = await lost_answers(walk, MigrateVm(vm=ONE, host=B), B)
        second = asyncio.ensure_future(said(walk, WEST, leave))
        await walk.lab.sleep(19.9)
        await walk.lab.drop_rules("cut")
        assert "TimedOut" in await first
        assert await second == "ok"
        await walk.lab.sleep(60)
        gone = isinstance(leave, UnregisterVm)
        assert place(walk) == (([], [], []) if gone else ([EAST], [D], [D]))

    walk.world.run(story())


def test_a_source_that_falls_in_a_migration_leaves_it_registered_once(walk: Walk) -> None:
    async def story() -> None:
        asked = await begun(walk, MigrateVm(vm=ONE, host=B), B)
        await walk.lab.power_off(A, "power_loss")
        assert "ok" not in await asked
        await walk.lab.power_on(A)
        await walk.lab.sleep(120)
        assert len(walk.listing(ONE)) == 1 and place(walk)[1] == walk.listing(ONE)
        assert await said(walk, WEST, PowerOnVm(vm=ONE)) == "ok"

    walk.world.run(story())


def test_a_host_that_fell_in_a_move_and_stays_away_keeps_no_vm_from_starting(walk: Walk) -> None:
    """DRS would have it on C, and cannot know whether B lists it: it starts where it is."""

    async def story() -> None:
        for vm in (ONE, TWO, THREE):
            await said(walk, WEST, PowerOffVm(vm=vm))
        asked = await lost_answers(walk, MigrateVm(vm=ONE, host=B), B)
        await walk.lab.power_off(B, "power_loss")
        assert "TimedOut" in await asked
        await said(walk, WEST, MigrateVm(vm=THREE, host=A))
        assert await said(walk, WEST, PowerOnVm(vm=THREE)) == "ok"
        await walk.lab.sleep(60)
        await walk.lab.drop_rules("cut")
        assert await said(walk, WEST, PowerOnVm(vm=ONE)) == "ok"
        assert walk.running_on(ONE) == [A]
        await walk.lab.power_on(B)
        await walk.lab.sleep(60)
        assert place(walk) == ([WEST], [A], [A])

    walk.world.run(story())


def test_nothing_starts_on_a_host_that_is_being_emptied(walk: Walk) -> None:
    """It is the emptiest as soon as its VM has gone, and takes none any more."""

    async def story() -> None:
        for vm in (TWO, THREE):
            assert await said(walk, WEST, MigrateVm(vm=vm, host=C)) == "ok"
        await said(walk, WEST, PowerOffVm(vm=THREE))
        assert await said(walk, WEST, EnterMaintenanceMode(host=B)) == "ok"
        empty = EnterMaintenanceMode(host=A, evacuate=True)
        entered = asyncio.ensure_future(said(walk, WEST, empty))
        while place(walk)[1] != [C]:
            await walk.lab.sleep(0.0001)
        assert await said(walk, WEST, PowerOnVm(vm=THREE)) == "ok"
        assert await entered == "ok"
        assert walk.running_on(THREE) == [C]

    walk.world.run(story())


def test_a_vcenter_that_has_not_heard_that_it_stayed_does_not_wait_for_ever(walk: Walk) -> None:
    """It is told before anybody tries the same again."""

    async def story() -> None:
        asked = await begun(walk, to_east(host=D), D)
        await walk.lab.power_off(EAST, "crash")
        assert "TimedOut" in await asked
        again = await said(walk, WEST, to_east(host=E))
        assert "InvalidState" in again and "does not know yet that the VM stayed" in again
        await said(walk, WEST, PowerOffVm(vm=ONE))
        await walk.lab.power_on(EAST)
        await walk.lab.sleep(400)
        assert place(walk) == ([WEST], [A], [A])
        assert await said(walk, WEST, to_east(host=E)) == "ok"
        assert place(walk) == ([EAST], [E], [E])

    walk.world.run(story())


def test_a_host_that_only_waited_for_a_vm_does_not_start_it(walk: Walk) -> None:
    """Both hosts fall before any memory has come; the one that waited boots first. The VM is still
    the other one's, which starts it when it is back."""

    vm = FOUR  # in clear: a host that boots needs nobody

    async def story() -> None:
        message = RelocateVm(vm=vm, service=ServiceLocator(vcenter=WEST), host=A)
        asked = asyncio.ensure_future(said(walk, EAST, message))
        while A not in walk.listing(vm):
            await walk.lab.sleep(0.0001)
        await cut(walk, (EAST, WEST), (WEST, EAST))
        await walk.lab.sleep(45)  # it does not answer, and is asked whether it has the VM
        await walk.lab.power_off(A, "power_loss")
        await walk.lab.power_off(D, "power_loss")
        await walk.lab.power_on(A)
        assert "ok" not in await asked
        await walk.lab.sleep(60)
        assert walk.listing(vm) == [A] and walk.running_on(vm) == []
        await walk.lab.drop_rules("cut")
        await walk.lab.power_on(D)
        await walk.lab.sleep(700)
        assert place(walk, vm) == ([EAST], [D], [D])
        assert walk.running_on(vm) == [D]

    walk.world.run(story())


def test_a_host_that_fell_does_not_start_again_what_has_left_meanwhile(walk: Walk) -> None:
    """It was off when it left, on a host that was given it after the first one had fallen."""

    async def story() -> None:
        asked = asyncio.ensure_future(said(walk, EAST, MigrateVm(vm=FOUR, host=E)))
        while E not in walk.listing(FOUR):
            await walk.lab.sleep(0.0001)
        await walk.lab.power_off(D, "power_loss")
        assert "ok" not in await asked
        await walk.lab.sleep(60)
        message = RelocateVm(vm=FOUR, service=ServiceLocator(vcenter=WEST), host=A)
        assert await said(walk, EAST, message) == "ok"
        await walk.lab.power_on(D)
        await walk.lab.sleep(400)
        assert place(walk, FOUR) == ([WEST], [A], [A]) and walk.running_on(FOUR) == []
        assert await said(walk, WEST, PowerOnVm(vm=FOUR)) == "ok"

    walk.world.run(story())


def test_a_host_that_waits_for_keys_does_not_start_what_was_powered_off_elsewhere(
    walk: Walk,
) -> None:
    """It has booted, away from vCenter, while the VM ran on another host, and was then powered off:
    the power command that was accepted last is on the datastore."""

    async def story() -> None:
        await walk.lab.power_off(A, "power_loss")
        await cut(walk, (A, WEST), (WEST, A))
        await walk.lab.power_on(A)
        await walk.lab.sleep(35)
        message = RegisterVm(vm=ONE, cluster=ClusterName(f"cluster-{WEST}"), host=B)
        assert await said(walk, WEST, message) == "ok"
        assert await said(walk, WEST, PowerOnVm(vm=ONE)) == "ok"
        assert await said(walk, WEST, PowerOffVm(vm=ONE)) == "ok"
        await walk.lab.drop_rules("cut")
        await walk.lab.sleep(120)
        assert walk.running_on(ONE) == []

    walk.world.run(story())


def test_a_host_that_was_removed_in_a_move_does_not_bring_back_what_has_left(walk: Walk) -> None:
    """It fell, and was not known to have dropped the VM; added again it is told."""

    async def story() -> None:
        await said(walk, WEST, PowerOffVm(vm=ONE))
        asked = await lost_answers(walk, MigrateVm(vm=ONE, host=B), B)
        await walk.lab.power_off(B, "power_loss")
        await walk.lab.drop_rules("cut")
        assert "TimedOut" in await asked
        await walk.lab.sleep(60)
        assert await said(walk, WEST, RemoveHost(host=B)) == "ok"
        assert await said(walk, WEST, to_east()) == "ok"
        await walk.lab.power_on(B)
        add = AddHost(host=B, cluster=ClusterName(f"cluster-{WEST}"))
        assert await said(walk, WEST, add) == "ok"
        await walk.lab.sleep(400)
        assert place(walk) == ([EAST], [D], [D])

    walk.world.run(story())


def test_a_host_that_is_being_connected_anew_is_not_said_to_be_connected(walk: Walk) -> None:
    async def story() -> None:
        await walk.lab.power_off(A, "crash")
        asked = asyncio.ensure_future(said(walk, WEST, PowerOffVm(vm=ONE)))
        await walk.lab.power_on(A)
        await asked
        told = {await said(walk, WEST, PowerOffVm(vm=ONE)) for _ in range(2)}
        assert not [text for text in told if text.endswith("is connected")], told

    walk.world.run(story())


def test_power_is_as_it_was(walk: Walk) -> None:
    """The lab that these stories begin in."""
    inventory = walk.inventory(WEST)
    assert inventory is not None
    rows = [inventory.vms[vm] for vm in (ONE, TWO, THREE)]
    assert [(row.host, row.power) for row in rows] == [(h, PowerState.ON) for h in (A, B, C)]


def test_a_source_that_falls_at_the_switch_over_does_not_start_again_what_has_left(
    walk: Walk,
) -> None:
    """It forgot that it had handed the VM over, and boots while the host that took it is down."""

    vm = FOUR  # in clear: a host that boots needs nobody

    async def story() -> None:
        message = RelocateVm(vm=vm, service=ServiceLocator(vcenter=WEST), host=A)
        asked = asyncio.ensure_future(said(walk, EAST, message))
        while walk.running_on(vm) != [A, D]:
            await asyncio.sleep(0)  # the memory is there, and its source has not heard so
        await walk.lab.power_off(D, "power_loss")
        await walk.lab.sleep(10)
        await walk.lab.power_off(A, "power_loss")
        await cut(walk, (D, EAST), (EAST, D))  # it boots, and its vCenter cannot tell it
        await walk.lab.power_on(D)
        await walk.lab.sleep(60)
        assert walk.listing(vm) == [D] and walk.running_on(vm) == []
        await walk.lab.power_on(A)
        await walk.lab.drop_rules("cut")
        await walk.lab.sleep(400)
        await asked
        assert place(walk, vm) == ([WEST], [A], [A])
        assert walk.running_on(vm) == [A]

    walk.world.run(story())


def test_a_vm_that_ran_when_its_host_fell_starts_where_it_was_moved_to(walk: Walk) -> None:
    """Nobody has powered it off: the power command that was accepted last still holds."""

    async def story() -> None:
        await walk.lab.power_off(D, "power_loss")
        await walk.lab.sleep(60)
        there = RegisterVm(vm=FOUR, cluster=ClusterName(f"cluster-{EAST}"), host=E)
        assert await said(walk, EAST, there) == "ok"
        move = RelocateVm(vm=FOUR, service=ServiceLocator(vcenter=WEST), host=A)
        assert await said(walk, EAST, move) == "ok"
        assert walk.running_on(FOUR) == []
        await walk.lab.power_off(A, "power_loss")
        await walk.lab.power_on(A)
        await walk.lab.sleep(60)
        assert walk.running_on(FOUR) == [A]

    walk.world.run(story())


def test_a_vm_that_left_is_not_registered_as_long_as_the_other_vcenter_has_it(walk: Walk) -> None:
    """Somebody unregisters a VM and registers it again, and it is relocated in between: the
    requests wait for the end of the relocation, and would take the VM into a second inventory."""
    register = RegisterVm(vm=ONE, cluster=ClusterName(f"cluster-{WEST}"), host=B)

    async def story() -> None:
        await said(walk, WEST, PowerOffVm(vm=ONE))
        relocated = asyncio.ensure_future(said(walk, WEST, to_east()))
        await walk.lab.sleep(0.001)
        unregistered = asyncio.ensure_future(said(walk, WEST, UnregisterVm(vm=ONE)))
        assert (await relocated, await unregistered) == ("ok", "ok")
        refused = await said(walk, WEST, register)
        assert refused == f"AlreadyExists: {ONE} was relocated to {EAST}, which has it on {D}"
        assert place(walk) == ([EAST], [D], [D])
        await cut(walk, (WEST, EAST), (EAST, WEST))
        assert "does not say whether it has it" in await said(walk, WEST, register)
        await walk.lab.drop_rules("cut")
        assert await said(walk, EAST, UnregisterVm(vm=ONE)) == "ok"
        assert await said(walk, WEST, register) == "ok"
        assert place(walk) == ([WEST], [B], [B])

    walk.world.run(story())


def test_a_host_that_is_added_again_does_not_bring_back_a_vm_that_left(walk: Walk) -> None:
    """The host was out of the inventory when its VM moved to the other vCenter, and still lists
    it."""
    cluster = ClusterName(f"cluster-{WEST}")

    async def story() -> None:
        await said(walk, WEST, PowerOffVm(vm=ONE))
        await walk.lab.power_off(A, "power_loss")
        await walk.lab.sleep(60)
        assert await said(walk, WEST, RemoveHost(host=A)) == "ok"
        assert await said(walk, WEST, RegisterVm(vm=ONE, cluster=cluster, host=B)) == "ok"
        assert await said(walk, WEST, to_east()) == "ok"
        await walk.lab.power_on(A)
        await walk.lab.sleep(60)
        assert sorted(walk.listing(ONE)) == [A, D]
        assert await said(walk, WEST, AddHost(host=A, cluster=cluster)) == "ok"
        await walk.lab.sleep(400)
        assert place(walk) == ([EAST], [D], [D])

    walk.world.run(story())


def test_a_vm_that_another_host_runs_unseen_does_not_leave(walk: Walk) -> None:
    """The host where vCenter has it is asked before a relocation, and sees the lock (seed 747)."""
    there = RegisterVm(vm=ONE, cluster=ClusterName(f"cluster-{WEST}"), host=B)

    async def story() -> None:
        await cut(walk, (A, WEST), (WEST, A))
        await walk.lab.sleep(60)
        await said(walk, WEST, RemoveHost(host=A))
        assert await said(walk, WEST, there) == "ok"
        refused = await said(walk, B, CheckRelocate(vm=ONE))
        assert refused == f"InvalidState: {ONE} is locked by {A}, where it may run"
        assert await said(walk, B, CheckRelocate(vm=TWO)) == "ok"

    walk.world.run(story())
