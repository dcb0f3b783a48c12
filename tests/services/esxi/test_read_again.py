"""What a host that is connected anew tells of VMs that another host changed meanwhile."""

from __future__ import annotations

from protocol.messages.host.session import VmSummary
from protocol.messages.host.vms import HostCreateVm, HostPowerOnVm, HostRecryptVm, HostRegisterVm
from protocol.terms import VmConnectionState, VmName
from services.esxi.vms.file_formats import vmx_file
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


def test_what_another_host_has_written_since_the_boot_is_not_tidied_away(rig: Rig) -> None:
    """B rewrites the disk while A, which lists the VM too, waits for its vCenter: A has read the
    configuration before, and empties files that a crash left behind after it."""
    rig.up(A, knobs={"boot_step_s": 20.0})
    rig.up(B)
    for host in (A, B):
        rig.make_safe(host)
        rig.add_keys(OLD, NEW, node=host)
    rig.encrypted_vm(node=A, on=False)
    rig.power_off(A, "power_loss")
    rig.power_on(A)
    rig.command(HostRegisterVm(vm=VM), B)
    deep = HostRecryptVm(vm=VM, old=(OLD,), key=NEW, provider=PROVIDER, deep=True)
    rig.command(deep, B)
    rig.sleep(60.0)
    assert rig.kinds("boot.step", A)[-1]["text"] == "autostart ended"
    rig.command(HostPowerOnVm(vm=VM), B)
    assert rig.works(node=B)
