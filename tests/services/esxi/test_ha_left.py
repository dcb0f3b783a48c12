"""HA and VMs that nobody runs: none is given up while a try is left, whatever came in between."""

from __future__ import annotations

import asyncio
import errno
import os

import msgspec
import pytest

from protocol.errors import DatastoreFault, InvalidState, NotFound
from protocol.messages.host.session import (
    HaRestartVm,
    HostEnterMaintenanceMode,
    HostExitMaintenanceMode,
    SetHaConfiguration,
)
from protocol.messages.host.vms import HostCreateVm, HostPowerOffVm, HostPowerOnVm, HostRegisterVm
from protocol.terms import NodeName, PowerState, VmName
from services.esxi.ha.primary import restart_vm
from services.esxi.vms import ownership, power, registration
from services.runtime.sim.datastore import SimDatastore
from tests.services.esxi.rig import VCENTER, VM, A, B, Rig, key
from tests.services.esxi.test_ha import (
    ALL,
    HA,
    JUDGED_S,
    C,
    clear_vm,
    cluster,
    condition,
    isolate,
    listed,
    primary,
    running,
    safe,
)


def test_a_host_that_takes_long_to_refuse_does_not_end_the_tries(rig: Rig) -> None:
    """It holds the VM's lock while it looks for keys; the primary's request is over before."""
    cluster(rig, ha_retry_interval_s=40.0, request_timeout_s=90.0)
    for host in ALL:
        safe(rig, host)
    rig.encrypted_vm(node=A)
    rig.add_keys(key("kek-1"), node=C)
    clear_vm(rig, C, VmName("load"))  # B has fewer, and is tried first
    rig.power_off(A, "power_loss")
    rig.sleep(400.0)
    assert running(rig) == [C]


def test_a_host_that_is_back_without_keys_leaves_its_vms_to_the_others(rig: Rig) -> None:
    """B refused, A is back in the midst and has no key either; the tries go on, and C has it."""
    cluster(rig, ha_retry_interval_s=120.0)
    for host in ALL:
        safe(rig, host)
    rig.encrypted_vm(node=A)
    rig.add_keys(key("kek-1"), node=C)
    clear_vm(rig, C, VmName("load"))
    rig.power_off(A, "power_loss")
    rig.sleep(JUDGED_S)
    assert running(rig) == [] and listed(rig) == [B]
    rig.power_on(A)
    rig.sleep(300.0)
    assert running(rig) == [C]


def test_what_its_host_has_started_after_all_is_no_restart(rig: Rig) -> None:
    """Nobody could take the VM before; HA tells of none that it did not start."""
    cluster(rig, ha_retry_interval_s=120.0)
    clear_vm(rig, A)
    for host in (B, C):
        rig.command(HostEnterMaintenanceMode(), host)
    rig.power_off(A, "power_loss")
    rig.sleep(JUDGED_S)
    rig.power_on(A)
    rig.sleep(30.0)
    for host in (B, C):
        rig.command(HostExitMaintenanceMode(), host)
    rig.sleep(400.0)
    assert running(rig) == [A] and listed(rig) == [A]
    assert not [r for r in rig.records if r.kind in ("ha.restarted", "ha.refused")]


@pytest.mark.parametrize("unseen", [False, True])
def test_a_vm_whose_lock_outlasts_its_failed_host_is_restarted_when_it_falls(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, unseen: bool
) -> None:
    """The locks of a host that fails fall one after the other, its heartbeat's first; ``unseen``:
    the datastore does not say at first who has the VM's, and a host tries in vain to take it."""
    cluster(rig)
    clear_vm(rig, A)
    isolate(rig, A, B, C)
    del rig.array.locks[f".vSphere-HA-{A}"]
    real = SimDatastore.holders

    async def broken_once(self: SimDatastore, vms: list[str]) -> dict[str, NodeName]:
        if vms != [VM]:
            return await real(self, vms)
        monkeypatch.setattr(SimDatastore, "holders", real)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    if unseen:
        monkeypatch.setattr(SimDatastore, "holders", broken_once)
    rig.sleep(JUDGED_S)
    assert condition(rig, A) == "hostDown" and running(rig) == [A]
    assert SimDatastore.holders is real
    rig.power_off(A, "power_loss")
    rig.sleep(JUDGED_S)
    assert len(running(rig)) == 1


@pytest.mark.parametrize("failed", ALL)
@pytest.mark.parametrize("from_all", [True, False])
def test_a_vm_of_a_host_that_was_taken_for_failed_runs_on_there_alone(
    rig: Rig, failed: NodeName, from_all: bool
) -> None:
    """It is cut off, and its heartbeat on the datastore is lost, while it runs its VM: the VM's
    lock keeps the others off, and nobody tells of a restart when the host is heard again."""
    cluster(rig)
    clear_vm(rig, failed)
    others = [host for host in ALL if host != failed]
    isolate(rig, failed, *(others if from_all or primary(rig) == failed else [primary(rig)]))
    del rig.array.locks[f".vSphere-HA-{failed}"]
    for moment in range(60):
        if moment == 30:
            rig.heal()
        rig.sleep(5.0)
        assert running(rig) == [failed]
    rig.sleep(600.0)  # it was left to the host that is back for as long as one may boot
    assert running(rig) == listed(rig) == [failed]
    tries = [r for r in rig.records if r.kind in ("ha.restarted", "ha.refused", "ha.left")]
    assert len(tries) <= 1 and all(r.kind == "ha.left" for r in tries)


@pytest.mark.parametrize("and_then", ["", "the primary fails"])
def test_a_host_that_let_go_and_is_heard_again_loses_no_vm(rig: Rig, and_then: str) -> None:
    """The network is back after it has powered its VMs off, and before anybody took them."""
    cluster(rig, ha_isolation_response="powerOff", heartbeat_s=10.0)
    clear_vm(rig, A)
    rig.power_off(VCENTER, "power_loss")
    isolate(rig, A, B, C)
    while rig.host(A).vms[VM].guest:
        rig.sleep(0.01)
    rig.heal()
    if and_then:
        rig.power_off(C, "crash")
    rig.sleep(200.0)
    assert len(running(rig)) == 1


def test_who_falls_silent_while_many_are_restarted_is_asked_no_further(rig: Rig) -> None:
    """A request to a host without a word lasts a minute, and eight are under way at once."""
    cluster(rig)
    vms = [VmName(f"vm-{number:02d}") for number in range(80)]
    for vm in vms:
        clear_vm(rig, A, vm)
    rig.sleep(10.0)
    rig.power_off(A, "power_loss")
    while not rig.kinds("ha.restarted", C):
        rig.sleep(0.001)
    rig.power_off(B, "power_loss")
    rig.sleep(2 * JUDGED_S)
    guests = [vm for vm in vms if running(rig, vm) == [C]]
    assert guests == vms


def test_of_two_hosts_that_start_one_vm_at_once_one_is_refused(rig: Rig) -> None:
    """Two primaries of a divided cluster judge the same host: its VM's lock decides (HA-01)."""
    cluster(rig)
    for host in ALL:
        safe(rig, host, "kek-1")
    rig.encrypted_vm(node=A)
    rig.power_off(A, "power_loss")

    async def both() -> list[BaseException | None]:
        message = HaRestartVm(epoch=HA.epoch, vm=VM, of=A)
        tries = (restart_vm(rig.host(host), message) for host in (B, C))
        return await asyncio.gather(*tries, return_exceptions=True)

    outcomes = rig.run(both())
    assert len(running(rig)) == 1
    (refused,) = [error for error in outcomes if error is not None]
    assert isinstance(refused, DatastoreFault) and running(rig)[0] in str(refused)


def test_a_vm_that_was_switched_off_before_its_restart_arrives_stays_off(rig: Rig) -> None:
    """A primary that looked before it, and was slow: who takes the lock looks again (HA-01)."""
    cluster(rig)
    for host in ALL:
        safe(rig, host, "kek-1")
    rig.encrypted_vm(node=A)
    rig.command(HostPowerOffVm(vm=VM), A)
    late = HaRestartVm(epoch=HA.epoch, vm=VM, of=A)
    refused = rig.refusal(restart_vm(rig.host(B), late))
    assert isinstance(refused, NotFound) and "is not to run" in str(refused)
    assert not running(rig)


def test_a_restart_of_an_earlier_epoch_takes_no_vm(rig: Rig) -> None:
    """HA was turned off and on while it was on its way: it knows nothing of whose the VM is now,
    which its own host brings up again."""
    cluster(rig)
    for host in ALL:
        safe(rig, host, "kek-1")
    rig.encrypted_vm(node=A)
    again = msgspec.structs.replace(HA, epoch="e2")
    for host in ALL:
        rig.command(SetHaConfiguration(configuration=again), host)
    rig.command(HostPowerOffVm(vm=VM), A)
    rig.command(HostPowerOnVm(vm=VM), A)
    rig.power_off(A, "power_loss")
    late = HaRestartVm(epoch=HA.epoch, vm=VM, of=C)
    refused = rig.refusal(restart_vm(rig.host(B), late))
    assert isinstance(refused, InvalidState) and "by another one" in str(refused)
    assert not listed(rig, among=(B,))


def test_the_lock_of_a_vm_that_was_registered_anew_and_started_is_not_given_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While A looks who has the locks of its idle VMs: it saw an earlier registration."""
    cluster(rig)
    clear_vm(rig, A)
    rig.command(HostPowerOffVm(vm=VM), A)
    host = rig.host(A)
    host.vms[VM].wanted = PowerState.ON  # as after a start that was refused
    real = SimDatastore.holders

    async def meanwhile(self: SimDatastore, vms: list[str]) -> dict[str, NodeName]:
        monkeypatch.setattr(SimDatastore, "holders", real)
        await registration.unregister_vm(host, VM)
        await registration.register_vm(host, VM)
        await power.power_on(host, VM, ask=False)
        return await real(self, vms)

    monkeypatch.setattr(SimDatastore, "holders", meanwhile)
    rig.run(ownership.drop_taken_over_vms(host))
    assert running(rig) == [A] and rig.array.locks[VM].node == A


def test_a_vm_that_leaves_a_host_while_it_looks_for_lost_ones_is_not_dropped_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vCenter unregisters it while the host, which has booted, asks whose the VM before it is."""
    cluster(rig)
    host, other = rig.host(A), VmName("vm-02")
    for vm in (VM, other):
        rig.command(HostCreateVm(vm=vm, blocks=8), A)
    rig.command(HostRegisterVm(vm=other), B)
    real = SimDatastore.read

    async def meanwhile(self: SimDatastore, vm: str, file: str) -> bytes:
        monkeypatch.setattr(SimDatastore, "read", real)
        await registration.unregister_vm(host, other)
        return await real(self, vm, file)

    monkeypatch.setattr(SimDatastore, "read", meanwhile)
    rig.run(ownership.drop_vms_of_others(host))
    assert listed(rig, VM) == [A] and listed(rig, other) == [B]
    assert not rig.kinds("ha.taken_over", A)
