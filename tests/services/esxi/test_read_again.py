"""What a host that is connected anew tells of VMs that another host changed meanwhile."""

from __future__ import annotations

from protocol.messages.host import HostCreateVm, HostRecryptVm, HostRegisterVm, VmSummary
from protocol.terms import VmConnectionState, VmName
from services.esxi.vms.vmx import vmx_file
from tests.services.esxi.rig import PROVIDER, VM, A, B, Rig, key

OLD, NEW = key("kek-1"), key("kek-2")


def changed_by_b(rig: Rig) -> None:
    """Host A has the VM registered, off, under OLD; B has it under NEW."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.up(B)
    rig.make_safe(B)
    rig.add_keys(OLD, NEW, node=B)
    rig.command(HostRegisterVm(vm=VM), B)
    rig.command(HostRecryptVm(vm=VM, old=(OLD,), key=NEW, provider=PROVIDER), B)
    assert rig.vm().keys == (OLD,)  # nobody has told A


def listed(rig: Rig, vm: VmName = VM) -> VmSummary:
    return next(one for one in rig.connect(A).vms if one.vm == vm)


def test_it_tells_the_configuration_that_is_on_the_datastore(rig: Rig) -> None:
    changed_by_b(rig)
    found = listed(rig)
    assert (found.keys, found.missing) == ((NEW,), (NEW,))
    assert found.connection is VmConnectionState.INVALID  # LOCK-02, and that is the truth


def test_what_cannot_be_read_stays_as_it_is_known_and_hides_no_other_vm(rig: Rig) -> None:
    changed_by_b(rig)
    other = VmName("vm-02")
    rig.command(HostCreateVm(vm=other, blocks=8))
    del rig.array.folders[VM][vmx_file(VM)]
    assert listed(rig).keys == (OLD,)
    assert listed(rig, other).connection is VmConnectionState.CONNECTED
    assert {line["vm"] for line in rig.kinds("vm.unreadable")} == {VM}


def test_a_vm_that_runs_is_left_alone(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    del rig.array.folders[VM][vmx_file(VM)]
    assert listed(rig).keys == (OLD,) and rig.kinds("vm.unreadable") == []
