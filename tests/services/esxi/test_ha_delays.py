"""HA while the datastore answers slowly: what a host does meanwhile must not be undone."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from protocol.messages.host.vms import GuestWrite, HostCreateSnapshot, HostPowerOffVm, HostPowerOnVm
from protocol.terms import VmName
from services.esxi.ha.folder import list_file
from services.runtime.sim.datastore import SimDatastore
from tests.services.esxi.rig import MARKER, VCENTER, VM, A, B, Rig
from tests.services.esxi.test_ha import JUDGED_S, C, clear_vm, cluster, isolate, running


@pytest.mark.parametrize("doing", ["write", "snapshot"])
def test_a_vm_is_let_go_of_when_what_its_host_does_with_it_has_ended(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, doing: str
) -> None:
    """The host is isolated and powers its VMs off. Until a write of the guest, or a snapshot, has
    ended, no other host may take the VM: two hosts would write its files."""
    cluster(rig, ha_isolation_response="powerOff", heartbeat_s=10.0)
    clear_vm(rig, A)
    rig.power_off(VCENTER, "power_loss")
    slow = {"write": "write_blocks", "snapshot": "write"}[doing]
    real = getattr(SimDatastore, slow)
    late: list[bool] = []

    async def slowly(
        self: SimDatastore, vm: str, file: str, data: bytes | Mapping[int, bytes]
    ) -> None:
        if vm == VM and self._life.node == A:  # what it does to these files takes two minutes
            monkeypatch.setattr(SimDatastore, slow, real)
            await rig.host(A).clock.sleep(2 * JUDGED_S)
            late.append(any(VM in rig.host(other).vms for other in (B, C)))
        await real(self, vm, file, data)

    monkeypatch.setattr(SimDatastore, slow, slowly)
    message = {
        "write": GuestWrite(vm=VM, marker=MARKER),
        "snapshot": HostCreateSnapshot(vm=VM, snapshot="s1", memory=False),
    }[doing]
    outcomes: list[object] = [None]
    isolate(rig, A, B, C)
    rig.accept([message], outcomes, last_within_s=600.0)
    rig.sleep(6 * JUDGED_S)
    assert outcomes != [None] and late == [False]
    assert len(running(rig)) == 1 and running(rig) != [A]


def test_a_vm_that_starts_while_its_hosts_list_is_written_is_in_it(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list that was on its way says that the VM is off. The host fails right after it has
    answered the power-on."""
    cluster(rig)
    clear_vm(rig, A)
    rig.command(HostPowerOffVm(vm=VM), A)
    real = SimDatastore.write
    begun: list[bytes] = []

    async def slowly(self: SimDatastore, vm: str, file: str, data: bytes) -> None:
        if file == list_file(A) and not begun:
            begun.append(data)
            await rig.host(A).clock.sleep(1.0)
        await real(self, vm, file, data)

    monkeypatch.setattr(SimDatastore, "write", slowly)
    while not begun:
        rig.sleep(0.01)
    rig.command(HostPowerOnVm(vm=VM), A)
    assert VM.encode() not in begun[0]
    rig.sleep(1.0)
    rig.power_off(A, "power_loss")
    rig.sleep(2 * JUDGED_S)
    assert len(running(rig)) == 1


def test_a_host_that_is_back_unheard_and_fails_again_loses_no_vm(rig: Rig) -> None:
    """The primary did not hear that it was back, and still takes it for failed."""
    cluster(rig)
    clear_vm(rig, C)
    rig.power_off(C, "power_loss")
    rig.sleep(JUDGED_S)
    rig.cut((A, C))
    rig.power_on(C)
    rig.sleep(3 * JUDGED_S)
    other = VmName("vm-02")
    rig.connect(C)
    clear_vm(rig, C, other)
    rig.sleep(10.0)
    rig.power_off(C, "power_loss")
    rig.sleep(2 * JUDGED_S)
    assert len(running(rig, other)) == 1
