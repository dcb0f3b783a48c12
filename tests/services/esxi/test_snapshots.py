"""Snapshots at their host: what comes back, what they forbid, and what a fall leaves (REK-02)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    GuestFault,
    InvalidName,
    InvalidState,
    NotFound,
    ResourceInUse,
    SaveFailed,
)
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.session import Command
from protocol.messages.host.vms import (
    SNAPSHOTS_LIMIT,
    GuestChallenge,
    GuestWrite,
    HostAddDisk,
    HostAddVtpm,
    HostCloneVm,
    HostCreateSnapshot,
    HostCreateVm,
    HostDecryptVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRecryptVm,
    HostRemoveDisk,
    HostRemoveSnapshot,
    HostRemoveVtpm,
    HostRevertToSnapshot,
    ReconfigureVm,
    VmState,
)
from protocol.terms import PowerState, VmName
from services.esxi.vms.file_formats import disk_file, nvram_file
from tests.services.esxi.rig import MARKER, PROVIDER, VM, Rig, key
from tests.services.esxi.test_clone import KEK, NEW, no_room, ready
from tests.services.esxi.test_crash_points import WAYS, sweep
from tests.services.esxi.test_vtpm import Asker

OTHER = b"another content"
TAKE = HostCreateSnapshot(vm=VM, snapshot="before")
REVERT = HostRevertToSnapshot(vm=VM, snapshot="before")
REMOVE = HostRemoveSnapshot(vm=VM, snapshot="before")
SHALLOW = HostRecryptVm(vm=VM, old=(KEK,), provider=PROVIDER, key=NEW)
DEEP = HostRecryptVm(vm=VM, old=(KEK,), provider=PROVIDER, key=NEW, deep=True)


def holds(rig: Rig, marker: bytes, asked: tuple[int, ...] = (1, 2, 3)) -> bool:
    """Whether these blocks of the running VM are as the marker says; the question rewrites one of
    them, so the next question is about others."""
    answer = rig.console(GuestChallenge(vm=VM, nonce=b"n", blocks=asked))
    seed = guest_seed(marker)
    return answer.digest == challenge_digest(b"n", [guest_block(seed, at, 0) for at in asked])


def fill(rig: Rig, marker: bytes) -> None:
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestWrite(vm=VM, marker=marker))


def marked(rig: Rig) -> None:
    """An encrypted VM, its snapshot, and another content since; off."""
    ready(rig)
    fill(rig, b"first")
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(TAKE)
    fill(rig, OTHER)
    rig.command(HostPowerOffVm(vm=VM))


def test_a_vm_comes_back_as_it_was_and_can_again(rig: Rig) -> None:
    marked(rig)
    assert rig.vm().snapshots == ("before",)
    for _ in range(2):
        rig.command(REVERT)
        rig.command(HostPowerOnVm(vm=VM))
        assert holds(rig, b"first")
        rig.console(GuestWrite(vm=VM, marker=OTHER))
        rig.command(HostPowerOffVm(vm=VM))
    rig.command(REMOVE)
    assert not isinstance(rig.vm().snapshots, tuple)
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, OTHER)


def test_a_running_vm_goes_on_while_it_is_taken(rig: Rig) -> None:
    ready(rig)
    fill(rig, b"first")
    rig.command(TAKE)
    assert holds(rig, b"first")
    rig.console(GuestWrite(vm=VM, marker=OTHER))
    rig.sleep(30)
    assert not holds(rig, b"first")


def ran_on(rig: Rig) -> None:
    """An encrypted VM that runs, its snapshot without memory, another content since."""
    ready(rig)
    fill(rig, b"first")
    rig.command(TAKE)
    rig.console(GuestWrite(vm=VM, marker=OTHER))


def test_a_running_vm_is_off_when_it_has_gone_back(rig: Rig) -> None:
    ran_on(rig)
    reverted = rig.command(REVERT).summary
    assert reverted.power is reverted.wanted is PowerState.OFF
    assert rig.run(rig.host().datastore.holders([VM])) == {}, "its lock is free"
    rig.reboot()
    rig.connect()
    rig.sleep(60)
    assert rig.vm().power is PowerState.OFF
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, b"first")


def test_a_running_vm_that_cannot_go_back_runs_on(rig: Rig) -> None:
    """LOCK-04: nobody stops it for what is refused afterwards."""
    ran_on(rig)
    unknown = HostRevertToSnapshot(vm=VM, snapshot="none")
    assert isinstance(rig.refused_command(unknown), NotFound)
    for files in range(2):  # the disk, the configuration
        with no_room(rig, VM, files):
            assert isinstance(rig.refused_command(REVERT), DatastoreFault)
        assert holds(rig, OTHER, (files,))
    rig.command(RemoveKeys(keys=(KEK,)))
    assert isinstance(rig.refused_command(REVERT), EncryptionKeyRequired)
    assert rig.vm().power is PowerState.ON and holds(rig, OTHER, (4, 5, 6))


@pytest.mark.parametrize("power", list(PowerState))
@pytest.mark.parametrize("what", ["disk flipped", "disk cut", "vtpm flipped", "vtpm cut"])
def test_a_damaged_copy_takes_nothing_away(rig: Rig, what: str, power: PowerState) -> None:
    """What the VM has now is all that is left of it."""
    ready(rig)
    rig.command(HostAddVtpm(vm=VM))
    fill(rig, b"first")
    rig.command(TAKE)
    rig.console(GuestWrite(vm=VM, marker=OTHER))
    if power is PowerState.OFF:
        rig.command(HostPowerOffVm(vm=VM))
    config = rig.host().vms[VM].config
    assert config is not None
    (kept,) = config.snapshots
    part, _, how = what.partition(" ")
    file = disk_file(kept.serials[0]) if part == "disk" else nvram_file(VM, kept.vtpm)
    data = rig.array.folders[VM][file]
    if how == "cut":
        del data[-1:]
    else:
        data[5000 % len(data)] ^= 1
    error = rig.refused_command(REVERT)
    assert isinstance(error, GuestFault) and rig.vm().power is power
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, OTHER)


def test_without_the_key_of_a_disk_its_vm_goes_back_unseen(rig: Rig) -> None:
    """LOCK-03: the home's key is enough for one that is off afterwards."""
    ready(rig)
    rig.command(HostAddDisk(vm=VM, operation_id="second", key=NEW))
    rig.command(TAKE)
    rig.command(RemoveKeys(keys=(NEW,)))
    rig.command(REVERT)
    rig.add_keys(NEW)
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_it_is_off_also_when_that_cannot_be_kept(rig: Rig) -> None:
    """Its disks are those of the snapshot: a guest that went on would write into nothing."""
    ran_on(rig)
    with no_room(rig, VM, 2):
        error = rig.refused_command(REVERT)
    assert isinstance(error, SaveFailed) and "and off" in str(error)
    assert rig.vm().power is PowerState.OFF
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, b"first")


def test_nothing_of_a_snapshot_is_in_clear_and_what_is_removed_is_emptied(rig: Rig) -> None:
    marked(rig)
    files = [file for file, data in rig.array.folders[VM].items() if data]
    rig.command(REMOVE)
    assert len([f for f, data in rig.array.folders[VM].items() if data]) == len(files) - 1
    for marker in (b"first", OTHER):
        assert guest_seed(marker) not in b"".join(data for _, data in rig.array.images())


def test_a_shallow_recrypt_is_one_of_the_snapshots_too(rig: Rig) -> None:
    """REK-01: after it the old key is not needed, also to go back."""
    marked(rig)
    rig.command(SHALLOW)
    rig.command(RemoveKeys(keys=(KEK,)))
    rig.command(REVERT)
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, b"first")


FORBIDDEN: list[Command[Any]] = [
    DEEP,
    HostDecryptVm(vm=VM),
    HostAddDisk(vm=VM, operation_id="d"),
    HostRemoveDisk(vm=VM, disk=1),
    HostAddVtpm(vm=VM),
]


@pytest.mark.parametrize("message", FORBIDDEN, ids=lambda message: type(message).__name__)
def test_what_gives_a_disk_another_key_waits_for_the_snapshots(
    rig: Rig, message: Command[Any]
) -> None:
    """REK-02, CLN-02."""
    ready(rig)
    rig.command(HostAddDisk(vm=VM, operation_id="second"))
    rig.command(TAKE)
    error = rig.refused_command(message)
    assert isinstance(error, InvalidState) and "snapshots (before)" in str(error)
    rig.command(REMOVE)
    rig.command(message)


def test_a_clear_vm_with_a_snapshot_is_not_encrypted(rig: Rig) -> None:
    ready(rig)
    rig.command(HostDecryptVm(vm=VM))
    rig.command(TAKE)
    encrypt = ReconfigureVm(vm=VM, key=KEK)
    assert isinstance(rig.refused_command(encrypt), InvalidState)
    rig.command(REMOVE)
    rig.command(encrypt)


@pytest.mark.parametrize("message", [TAKE, REVERT, REMOVE])
def test_without_the_homes_key_nothing_changes(rig: Rig, message: Command[VmState]) -> None:
    """VTPM-06, LOCK-02."""
    marked(rig)
    rig.command(RemoveKeys(keys=(KEK,)))
    if message is TAKE:
        message = HostCreateSnapshot(vm=VM, snapshot="second")
    assert isinstance(rig.refused_command(message), EncryptionKeyRequired)
    assert rig.vm().snapshots == ("before",)


def test_a_vtpm_goes_back_with_its_vm(rig: Rig) -> None:
    ready(rig)
    rig.command(HostAddVtpm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    asker = Asker(rig)
    asker.seal()
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(TAKE)
    assert isinstance(rig.refused_command(HostRemoveVtpm(vm=VM)), InvalidState)
    rig.command(HostPowerOnVm(vm=VM))
    for _ in range(3):
        assert asker.flaw() == ""
    after = asker.last
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(REVERT)
    rig.command(HostPowerOnVm(vm=VM))
    assert asker.flaw() != "", "its counter went back, as everything in it"
    asker.last = 0
    assert asker.flaw() == "" and asker.last < after
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(REMOVE)
    rig.command(HostPowerOnVm(vm=VM))
    assert asker.flaw() == ""


def test_a_clone_has_no_snapshots(rig: Rig) -> None:
    marked(rig)
    made = rig.command(HostCloneVm(vm=VmName("copy"), source=VM)).summary
    assert not isinstance(made.snapshots, tuple)


@pytest.mark.parametrize("name", ["disk-1", "disk-1.vmdk", "cloning", "power", "x.nvram", "x.vmem"])
def test_a_vm_may_have_the_name_of_one_of_its_files(rig: Rig, name: str) -> None:
    """What tidies its folder up at a power-on leaves its configuration alone."""
    ready(rig)
    vm = VmName(name)
    rig.command(HostCreateVm(vm=vm, blocks=4, key=KEK))
    rig.command(HostAddVtpm(vm=vm))
    rig.command(HostPowerOnVm(vm=vm))
    rig.command(HostCreateSnapshot(vm=vm, snapshot="before", memory=True))
    rig.command(HostRevertToSnapshot(vm=vm, snapshot="before"))
    rig.command(HostCloneVm(vm=VmName(f"{name}-2"), source=vm))
    rig.reboot()
    rig.connect()
    rig.sleep(60)
    assert rig.vm(vm).power is PowerState.ON
    rig.command(HostPowerOnVm(vm=VmName(f"{name}-2")))


def test_names_and_numbers(rig: Rig) -> None:
    ready(rig)
    wrong = HostCreateSnapshot(vm=VM, snapshot="a/b")
    assert isinstance(rig.refused_command(wrong), InvalidName)
    assert isinstance(rig.refused_command(REVERT), NotFound)
    rig.command(REMOVE)  # none of that name: no change
    for number in range(SNAPSHOTS_LIMIT):
        rig.command(HostCreateSnapshot(vm=VM, snapshot=f"s{number}"))
    assert isinstance(rig.refused_command(TAKE), ResourceInUse)
    rig.command(HostCreateSnapshot(vm=VM, snapshot="s0"))  # twice is once


def test_no_room_leaves_the_vm_as_it_was(rig: Rig) -> None:
    ready(rig)
    with no_room(rig, VM, 0):
        assert isinstance(rig.refused_command(TAKE), DatastoreFault)
    assert not isinstance(rig.vm().snapshots, tuple)
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


@contextmanager
def made_and_failed(rig: Rig, times: int) -> Iterator[None]:
    """The datastore makes so many writes of configurations and says that it has failed them."""
    kind = type(rig.host().datastore)
    write = kind.write

    async def failing(self: Any, vm: str, file: str, data: bytes) -> None:
        nonlocal times
        await write(self, vm, file, data)
        times -= file.endswith(".vmx")
        if times >= 0 and file.endswith(".vmx"):
            raise OSError(errno.EIO, "Input/output error")

    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(kind, "write", failing)
        yield


@pytest.mark.parametrize("times", [1, 2])
def test_a_configuration_that_was_written_and_refused_is_in_force(rig: Rig, times: int) -> None:
    """As when its folder cannot be synced: its disks are not emptied for a write that failed."""
    ran_on(rig)
    with made_and_failed(rig, times):
        if times == 1:
            assert rig.command(REVERT).summary.power is PowerState.OFF
        else:
            assert isinstance(rig.refused_command(REVERT), SaveFailed)
            assert holds(rig, OTHER), "its guest goes on with its own files"
            rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    assert holds(rig, b"first")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_fall_while_a_running_vm_goes_back_leaves_either_disk(way: str) -> None:
    """It starts with what is there, or is off; and a repeat ends it."""
    for rig in sweep(way, ran_on, lambda rig: rig.command(REVERT)):
        rig.sleep(60)
        rig.command(HostPowerOnVm(vm=VM))
        assert holds(rig, b"first") or holds(rig, OTHER, (4, 5, 6))
        rig.command(REVERT)
        assert rig.vm().power is PowerState.OFF
        rig.command(HostPowerOnVm(vm=VM))
        assert holds(rig, b"first")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("message", [TAKE, REVERT, REMOVE], ids=["take", "revert", "remove"])
def test_a_fall_leaves_the_old_or_the_new_whole(way: str, message: Command[VmState]) -> None:
    prepare = ready if message is TAKE else marked
    for rig in sweep(way, prepare, lambda rig: rig.command(message)):
        rig.sleep(10)
        config = rig.host().vms[VM].config
        assert config is not None
        needed = {*config.files, f"{VM}.vmx", "power"}
        left = {file for file, data in rig.array.folders[VM].items() if data}
        assert left <= needed, "what no configuration names is emptied by the boot"
        rig.command(message)
        rig.command(HostPowerOnVm(vm=VM))
        assert holds(rig, {TAKE: MARKER, REVERT: b"first", REMOVE: OTHER}[message])


def test_a_key_of_another_name_opens_nothing(rig: Rig) -> None:
    marked(rig)
    stranger = HostRecryptVm(vm=VM, old=(NEW,), provider=PROVIDER, key=key("kek-9"))
    assert isinstance(rig.refused_command(stranger), InvalidState)
