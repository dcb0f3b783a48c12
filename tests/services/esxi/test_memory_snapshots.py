"""Snapshots with memory at their host: a VM runs again as it did, with its keys, or stays as it is
(VTPM-06, VTPM-08, REK-01)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    GuestFault,
    InvalidState,
)
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.session import HostEnterMaintenanceMode
from protocol.messages.host.vms import (
    GuestChallenge,
    GuestWrite,
    HostAddVtpm,
    HostCreateSnapshot,
    HostCreateVm,
    HostMarkTemplate,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRecryptVm,
    HostRegisterVm,
    HostRevertToSnapshot,
    HostUnregisterVm,
)
from protocol.secret import KeyMaterial
from protocol.terms import PowerState, VmName
from services.esxi.vms.file_formats import pack_vmem, unpack_vmem, vmem_file
from services.esxi.vms.guest import PAGES
from services.runtime.incarnation import Incarnation
from services.runtime.sim.clock_and_rng import SimRng
from services.runtime.sim.datastore import SimDatastore
from tests.services.esxi.rig import MARKER, PROVIDER, VM, A, B, Rig
from tests.services.esxi.test_clone import KEK, NEW, no_room, ready
from tests.services.esxi.test_crash_points import WAYS, sweep
from tests.services.esxi.test_snapshots import OTHER, REMOVE, SHALLOW, fill, holds
from tests.services.esxi.test_unlock_fails import stuck
from tests.services.esxi.test_vtpm import Asker

TAKE = HostCreateSnapshot(vm=VM, snapshot="before", memory=True)
REVERT = HostRevertToSnapshot(vm=VM, snapshot="before")
OFF_ONLY = HostRevertToSnapshot(vm=VM, snapshot="before", suppress_power_on=True)
FILE = vmem_file(VM, 1)


def rng() -> SimRng:
    return SimRng(1, Incarnation(A, 1))


def run_of(rig: Rig, vm: VmName = VM) -> bytes:
    """Which run of the guest answers."""
    return rig.console(GuestChallenge(vm=vm, nonce=b"n", blocks=(7,))).run


def secret_of(rig: Rig) -> bytes:
    """What lies in the memory of the running guest, and should lie nowhere else."""
    guest = rig.host().vms[VM].guest
    assert guest is not None
    return guest.freeze().pages[0][:32]


def taken(rig: Rig) -> bytes:
    """An encrypted VM that runs, its snapshot with memory, another content since; its run."""
    ready(rig)
    fill(rig, b"first")
    run = run_of(rig)
    rig.command(TAKE)
    rig.console(GuestWrite(vm=VM, marker=OTHER))
    return run


def stopped(rig: Rig) -> bytes:
    run = taken(rig)
    rig.command(HostPowerOffVm(vm=VM))
    return run


def test_a_vm_that_is_off_runs_again_where_it_was(rig: Rig) -> None:
    run = stopped(rig)
    for _ in range(2):
        summary = rig.command(REVERT).summary
        assert summary.power is summary.wanted is PowerState.ON
        assert holds(rig, b"first") and run_of(rig) == run
        rig.command(HostPowerOnVm(vm=VM))  # twice is once
        rig.console(GuestWrite(vm=VM, marker=OTHER))
        rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    assert run_of(rig) != run, "a start is another run"


def test_a_vm_that_runs_goes_back_without_being_stopped(rig: Rig) -> None:
    run = stopped(rig)
    rig.command(HostPowerOnVm(vm=VM))
    assert run_of(rig) != run and not holds(rig, b"first")
    assert rig.command(REVERT).summary.power is PowerState.ON
    assert run_of(rig) == run and holds(rig, b"first")
    rig.sleep(60)
    assert run_of(rig) == run, "it works, and has found nothing wrong"
    rig.reboot()
    rig.connect()
    rig.sleep(60)
    assert rig.vm(VM).power is PowerState.ON, "its power command stayed on"
    assert run_of(rig) != run, "memory is gone with the host"


def test_without_power_it_is_as_any_other(rig: Rig) -> None:
    """suppressPowerOn, and a snapshot of a VM that is off, which has no memory to keep."""
    run = taken(rig)
    assert rig.command(OFF_ONLY).summary.power is PowerState.OFF
    rig.command(HostCreateSnapshot(vm=VM, snapshot="off", memory=True))
    summary = rig.vm(VM)
    assert summary.snapshots == ("before", "off") and summary.with_memory == ("before",)
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, b"first") and run_of(rig) != run
    rig.command(HostPowerOffVm(vm=VM))
    reverted = rig.command(HostRevertToSnapshot(vm=VM, snapshot="off"))
    assert reverted.summary.power is PowerState.OFF


def test_its_keys_are_needed_and_without_them_it_stays_as_it_is(rig: Rig) -> None:
    """VTPM-06: while it runs, and while it is off."""
    run = taken(rig)
    rig.command(RemoveKeys(keys=(KEK,)))
    for power in (PowerState.ON, PowerState.OFF):
        error = rig.refused_command(REVERT)
        assert isinstance(error, EncryptionKeyRequired) and error.keys == (KEK,)
        assert rig.vm(VM).power is power
        if power is PowerState.ON:
            assert run_of(rig) == run and holds(rig, OTHER)
            rig.command(HostPowerOffVm(vm=VM))
    rig.add_keys(KEK)
    rig.command(REVERT)
    assert run_of(rig) == run and holds(rig, b"first")


def test_a_shallow_recrypt_leaves_the_memory_readable(rig: Rig) -> None:
    """REK-01: the file is under the home's DEK; REK-02: a deep one waits."""
    run = taken(rig)
    rig.command(SHALLOW)
    rig.command(HostPowerOffVm(vm=VM))
    deep = HostRecryptVm(vm=VM, old=(NEW,), provider=PROVIDER, key=KEK, deep=True)
    assert "has snapshots (before)" in str(rig.refused_command(deep))
    rig.command(RemoveKeys(keys=(KEK,)))
    rig.command(REVERT)
    assert run_of(rig) == run and holds(rig, b"first")


def test_the_memory_of_an_encrypted_vm_is_nowhere_in_clear(rig: Rig) -> None:
    ready(rig)
    fill(rig, b"first")
    secret = secret_of(rig)
    rig.command(TAKE)
    assert len(rig.array.folders[VM][FILE]) > len(secret), "it is kept"
    assert secret not in b"".join(data for _, data in rig.array.images())
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(REVERT)
    assert secret_of(rig) == secret
    rig.command(REMOVE)
    assert not rig.array.folders[VM][FILE], "what is removed is emptied"


def test_the_memory_of_a_vm_in_clear_is_in_clear(rig: Rig) -> None:
    """As the product's is: nothing in that folder is encrypted."""
    ready(rig)
    clear = VmName("clear")
    rig.command(HostCreateVm(vm=clear, blocks=8))
    rig.command(HostPowerOnVm(vm=clear))
    run = run_of(rig, clear)
    rig.command(HostCreateSnapshot(vm=clear, snapshot="before", memory=True))
    guest = rig.host().vms[clear].guest
    assert guest is not None
    assert guest.freeze().pages[0][:32] in bytes(rig.array.folders[clear][vmem_file(clear, 1)])
    rig.command(HostPowerOffVm(vm=clear))
    rig.command(HostRevertToSnapshot(vm=clear, snapshot="before"))
    assert run_of(rig, clear) == run


def test_a_virtual_tpm_goes_on_with_all_that_had_power(rig: Rig) -> None:
    """VTPM-08: its registers are those of the run, not of a start."""
    ready(rig)
    rig.command(HostAddVtpm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    asker = Asker(rig)
    asker.seal()
    assert asker.flaw() == ""
    rig.command(TAKE)
    guest = rig.host().vms[VM].guest
    assert guest is not None and guest.vtpm is not None
    handed = guest.vtpm.pack_for_handover()
    for _ in range(3):
        assert asker.flaw() == ""
    after = asker.last
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(REVERT)
    again = rig.host().vms[VM].guest
    assert again is not None and again.vtpm is not None
    assert again.vtpm.pack_for_handover() == handed
    assert asker.flaw() != "", "its counter went back, as everything in it"
    asker.last = 0
    assert asker.flaw() == "" and asker.last < after
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(REMOVE)
    rig.command(HostPowerOnVm(vm=VM))
    assert asker.flaw() == "", "what it was answered since is durable"


# ---- damage -------------------------------------------------------------------------------


def flip(at: int) -> Callable[[bytearray], None]:
    def damage(data: bytearray) -> None:
        data[at % len(data)] ^= 1

    return damage


def cut(left: int) -> Callable[[bytearray], None]:
    def damage(data: bytearray) -> None:
        del data[left:]

    return damage


DAMAGES = [flip(0), flip(7), flip(9), flip(1000), flip(-1), cut(0), cut(9), cut(25), cut(-1)]


@pytest.mark.slow
@pytest.mark.parametrize("power", list(PowerState))
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_memory_is_refused_and_nothing_is_lost(
    rig: Rig, damage: Callable[[bytearray], None], power: PowerState
) -> None:
    taken(rig)
    run = run_of(rig)
    if power is PowerState.OFF:
        rig.command(HostPowerOffVm(vm=VM))
    damage(rig.array.folders[VM][FILE])
    error = rig.refused_command(REVERT)
    assert isinstance(error, DatastoreFault) and f"{FILE} is damaged" in str(error)
    assert rig.vm(VM).power is power
    if power is PowerState.ON:
        assert run_of(rig) == run and holds(rig, OTHER)
        rig.command(HostPowerOffVm(vm=VM))
    rig.command(OFF_ONLY)  # the disks are not lost
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, b"first")


def test_a_file_of_another_snapshot_or_vm_or_in_clear_does_not_open(rig: Rig) -> None:
    taken(rig)
    rig.command(HostCreateSnapshot(vm=VM, snapshot="later", memory=True))
    folder = rig.array.folders[VM]
    right = bytes(folder[FILE])
    clear = pack_vmem(VM, "before", 1, b"memory", None, rng())
    for wrong in (bytes(folder[vmem_file(VM, 2)]), clear):
        folder[FILE][:] = wrong
        assert isinstance(rig.refused_command(REVERT), DatastoreFault)
    folder[FILE][:] = right
    rig.command(REVERT)


def test_the_memory_of_a_snapshot_that_was_removed_is_not_that_of_its_namesake(rig: Rig) -> None:
    """Its disks are of another moment: what comes back of the old file would fit none of them."""
    taken(rig)
    old = bytes(rig.array.folders[VM][FILE])
    rig.command(REMOVE)
    rig.command(TAKE)
    config = rig.host().vms[VM].config
    assert config is not None
    file = vmem_file(VM, config.snapshots[0].memory)
    rig.array.folders[VM][file][:] = old
    run = run_of(rig)
    assert isinstance(rig.refused_command(REVERT), DatastoreFault)
    assert run_of(rig) == run and holds(rig, OTHER)


def test_a_damaged_disk_of_a_snapshot_leaves_the_vm_running(rig: Rig) -> None:
    taken(rig)
    config = rig.host().vms[VM].config
    assert config is not None
    (serial,) = config.snapshots[0].serials
    rig.array.folders[VM][f"disk-{serial}.vmdk"][5000] ^= 1
    run = run_of(rig)
    assert isinstance(rig.refused_command(REVERT), GuestFault)
    assert run_of(rig) == run and holds(rig, OTHER)


# ---- where it may not start ---------------------------------------------------------------


def test_where_a_vm_may_not_start_it_does_not_go_back_to_run(rig: Rig) -> None:
    stopped(rig)
    rig.command(HostMarkTemplate(vm=VM, template=True))
    error = rig.refused_command(REVERT)
    assert isinstance(error, InvalidState) and "template" in str(error)
    rig.command(HostMarkTemplate(vm=VM, template=False))
    rig.command(HostEnterMaintenanceMode())
    assert isinstance(rig.refused_command(REVERT), InvalidState)
    rig.command(OFF_ONLY)


def test_another_host_of_the_cluster_brings_it_back(rig: Rig) -> None:
    """REG-03: such a VM moves; its new host needs its keys alone."""
    run = stopped(rig)
    rig.up(B)
    rig.make_safe(B)
    rig.add_keys(KEK, node=B)
    rig.command(HostUnregisterVm(vm=VM))
    rig.command(HostRegisterVm(vm=VM), B)
    assert rig.command(REVERT, B).summary.power is PowerState.ON
    assert rig.console(GuestChallenge(vm=VM, nonce=b"n", blocks=(7,)), B).run == run


def test_what_it_failed_of_is_told_when_the_lock_is_not_taken_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped(rig)
    rig.command(RemoveKeys(keys=(KEK,)))
    with monkeypatch.context() as broken:
        broken.setattr(SimDatastore, "unlock", stuck)
        assert isinstance(rig.refused_command(REVERT), EncryptionKeyRequired)
    rig.add_keys(KEK)
    assert rig.command(REVERT).summary.power is PowerState.ON


def test_a_guest_that_has_faulted_has_no_memory_to_keep(rig: Rig) -> None:
    ready(rig)
    fill(rig, MARKER)
    guest = rig.host().vms[VM].guest
    assert guest is not None
    guest.fault = "it read what it never wrote"
    assert isinstance(rig.refused_command(TAKE), GuestFault)
    assert not isinstance(rig.vm(VM).snapshots, tuple)


# ---- no room, and falls ---------------------------------------------------------------------


def test_no_room_leaves_the_vm_as_it_was(rig: Rig) -> None:
    ready(rig)
    fill(rig, b"first")
    run = run_of(rig)
    for files in range(3):  # the disk, the memory, the configuration
        with no_room(rig, VM, files):
            assert isinstance(rig.refused_command(TAKE), DatastoreFault)
        assert not isinstance(rig.vm(VM).snapshots, tuple) and run_of(rig) == run
        assert not rig.array.folders[VM].get(FILE), "what was written is emptied"
    rig.command(TAKE)
    for files in range(2):  # the disk, the configuration
        rig.console(GuestWrite(vm=VM, marker=OTHER))
        with no_room(rig, VM, files):
            assert isinstance(rig.refused_command(REVERT), DatastoreFault)
        assert run_of(rig) == run and holds(rig, OTHER)
    rig.command(REVERT)
    assert run_of(rig) == run and holds(rig, b"first")


def test_a_power_command_that_is_not_kept_leaves_it_reverted_and_off(rig: Rig) -> None:
    run = stopped(rig)
    with no_room(rig, VM, 2):
        error = rig.refused_command(REVERT)
    assert not error.definite and "and off" in str(error)
    assert rig.vm(VM).power is PowerState.OFF
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, b"first")
    rig.command(REVERT)
    assert run_of(rig) == run


def filled(rig: Rig) -> None:
    ready(rig)
    fill(rig, b"first")


STORIES: dict[str, tuple[Callable[[Rig], Any], Any]] = {
    "take": (filled, TAKE),
    "revert off": (stopped, REVERT),
    "revert running": (taken, REVERT),
    "remove": (taken, REMOVE),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("story", list(STORIES))
def test_a_fall_leaves_the_old_or_the_new_whole(way: str, story: str) -> None:
    prepare, message = STORIES[story]
    for rig in sweep(way, prepare, lambda rig: rig.command(message)):
        rig.sleep(30)
        config = rig.host().vms[VM].config
        assert config is not None
        needed = {*config.files, f"{VM}.vmx", "power"}
        needed |= {vmem_file(VM, one.memory) for one in config.snapshots}
        left = {file for file, data in rig.array.folders[VM].items() if data}
        assert left <= needed, "what no configuration names is emptied by the boot"
        if story != "revert off":
            assert rig.vm(VM).power is PowerState.ON, "it ran, and starts by itself"
        rig.command(message)
        assert rig.vm(VM).power is PowerState.ON
        assert holds(rig, OTHER if message is REMOVE else b"first")
        if message is TAKE:
            rig.command(REVERT)
            assert holds(rig, b"first")


def test_the_file_by_itself() -> None:
    """What is kept is found, under the same home, name and number only."""
    home, other = KeyMaterial(b"h" * 32), KeyMaterial(b"o" * 32)
    memory = bytes(PAGES)
    for key in (home, None):
        data = pack_vmem(VM, "one", 1, memory, key, rng())
        assert unpack_vmem(VM, "one", 1, data, key) == memory
        for vm, snapshot, number, under in (
            (VmName("vm-02"), "one", 1, key),
            (VM, "two", 1, key),
            (VM, "one", 2, key),
            (VM, "one", 1, other),
            (VM, "one", 1, None if key else home),
        ):
            with pytest.raises(Exception, match=r"Snapshot\d\.vmem"):
                unpack_vmem(vm, snapshot, number, data, under)
