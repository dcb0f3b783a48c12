"""VMs that change their host: moved in order, restarted when theirs is lost, kept by a lock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.checks import CHECKS
from chaos.checks.result import CheckOutcome
from chaos.draws import Draws
from chaos.history import History, Record
from chaos.observe.guests import Guests
from chaos.observe.look import LabLook
from chaos.workload import Arrival, Means, perform
from chaos.workload.base import OperationCounts
from protocol.errors import DatastoreFault
from protocol.messages.vcenter.vms import PowerOffVm, PowerOnVm
from protocol.terms import NodeName, PowerState, VmName
from tests.chaos.bad_labs import Bad
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
VM = VmName("vm-01")


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=3, vms=3)
    yield made
    made.close()


def done(world: World, op: str, lab: Any = None) -> Record:
    """How one arrival on ``vm-01`` ends."""
    lab = lab or world.lab
    history = History(None, lab.monotonic)
    means = Means(lab, Guests(lab, Draws(1, "guests")))
    arrival = Arrival(at=0.0, op=op, target=VM, number=1)
    world.run(perform(means, arrival, history, OperationCounts()))
    return history.records[-1]


def hosts_of(world: World) -> list[tuple[NodeName, PowerState]]:
    """Every host that lists the VM, and whether it runs there."""
    seen = world.run(LabLook(world.lab).hosts())
    return [(h, vm.power) for h, summary in seen.items() for vm in summary.vms if vm.vm == VM]


def test_a_moved_vm_runs_on_another_host_and_on_no_other(world: World) -> None:
    [(before, _)] = hosts_of(world)
    ended = done(world, "vm.move")
    assert ended.type == "ok", ended.data
    assert hosts_of(world) == [(ended.data["host"], PowerState.ON)]
    assert ended.data["host"] != before


def test_a_migrated_vm_goes_on_on_another_host(world: World) -> None:
    """One that is off goes there with its files, and stays off."""
    for ran in (True, False):
        [(before, power)] = hosts_of(world)
        ended = done(world, "vm.migrate")
        assert (ended.type, ended.data["ran"]) == ("ok", ran), ended.data
        assert hosts_of(world) == [(ended.data["host"], power)] and ended.data["host"] != before
        if ran:
            world.run(world.lab.ask(NodeName("vcenter"), PowerOffVm(vm=VM)))


@pytest.mark.parametrize("op", ["vm.recrypt", "vm.recrypt_deep"])
def test_a_recrypted_vm_runs_under_the_key_that_is_told(world: World, op: str) -> None:
    ended = done(world, op)
    assert ended.type == "ok", ended.data
    _, seen = world.run(LabLook(world.lab).vms())[VM]
    assert [str(key) for key in seen.keys] == [f"{ended.data['provider']}/{ended.data['key']}"]
    assert seen.power is PowerState.ON


def test_a_vm_of_a_host_that_is_connected_is_not_restarted(world: World) -> None:
    ended = done(world, "vm.restart")
    assert (ended.type, ended.data["error"]) == ("fail", "its host is connected")


def test_a_vm_of_a_lost_host_runs_elsewhere_and_stays_there_when_that_comes_back(
    world: World,
) -> None:
    [(before, _)] = hosts_of(world)
    world.run(world.lab.power_off(before, "power_loss"))
    world.run(world.lab.sleep(40))
    ended = done(world, "vm.restart")
    assert ended.type == "ok", ended.data
    world.run(world.lab.power_on(before))
    world.run(world.lab.sleep(120))
    there = dict(hosts_of(world))  # that which lost it lists it still (decision 18)
    assert [host for host, power in there.items() if power is PowerState.ON] == [ended.data["host"]]


@pytest.mark.parametrize("runs", [False, True])
def test_a_lock_that_is_held_while_the_vm_runs_nowhere_is_told(world: World, runs: bool) -> None:
    """While it runs somewhere it is no wonder that it is locked."""
    bad: Any = Bad(world)
    real = bad.ask

    async def ask(node: NodeName, message: Any, *, within_s: float = 30.0) -> Any:
        if isinstance(message, PowerOnVm):
            if runs:
                await real(node, message, within_s=within_s)
            raise DatastoreFault("vm-01 is locked by esxi-009")
        return await real(node, message, within_s=within_s)

    bad.ask = ask
    ended = done(world, "vm.move", bad)
    assert ended.type == "info" and ended.data["off"]
    assert ("kept" in ended.data) is not runs
    judged = CHECKS["lock_given_back"].judge([ended])
    assert judged.result is (CheckOutcome.UNKNOWN if runs else CheckOutcome.FAIL)


def test_a_vm_that_was_moved_may_be_powered_as_any_other(world: World) -> None:
    done(world, "vm.move")
    for message, power in ((PowerOffVm(vm=VM), PowerState.OFF), (PowerOnVm(vm=VM), PowerState.ON)):
        world.run(world.lab.ask(NodeName("vcenter"), message))
        assert [state for _, state in hosts_of(world)] == [power]
