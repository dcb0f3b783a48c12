"""Virtual machines: real data under real keys, what locks them, and what a guest notices."""

from __future__ import annotations

import errno
import os
from typing import Any

import msgspec
import pytest

from protocol.errors import (
    AlreadyExists,
    DatastoreFault,
    EncryptionKeyRequired,
    GuestFault,
    InvalidArgument,
    InvalidName,
    InvalidPowerState,
    InvalidState,
    NotAvailable,
    NotFound,
    SaveFailed,
)
from protocol.guest import BLOCK_SIZE, guest_block, guest_seed
from protocol.messages.host.crypto import CryptoManagerHostDisable, RemoveKeys
from protocol.messages.host.vms import (
    GuestChallenge,
    GuestWrite,
    HostCreateVm,
    HostDestroyVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    HostUnregisterVm,
    ReconfigureVm,
)
from protocol.terms import PowerState, VmConnectionState, VmCryptoState, VmName
from services.esxi.configuration.sections import StoredKey
from services.esxi.vms.file_formats import (
    POWER_FILE,
    VmKeys,
    encrypt_config,
    new_config,
    open_vm,
    vmx_file,
)
from services.esxi.vms.files import add_checksum
from services.runtime.incarnation import Incarnation
from services.runtime.sim.clock_and_rng import SimRng
from services.runtime.sim.datastore import SimDatastore
from tests.services.esxi.rig import MARKER, PROVIDER, VM, A, B, Rig, key, material

DISK = "disk-2.vmdk"  # of a VM that was encrypted once
CHALLENGE = GuestChallenge(vm=VM, nonce=b"n", blocks=(1, 3, 6))


def folder(rig: Rig, vm: VmName = VM) -> dict[str, bytearray]:
    return rig.array.folders[vm]


def datastore_bytes(rig: Rig) -> bytes:
    return b"".join(data for _, data in rig.array.images())


@pytest.mark.parametrize("command", [HostCreateVm, HostRegisterVm])
def test_a_vm_whose_registration_cannot_be_saved_is_none_of_this_host(
    rig: Rig, command: type[HostCreateVm | HostRegisterVm]
) -> None:
    """vCenter takes what a host lists for its VM, and would have one that nobody can power on."""
    rig.up()
    if command is HostRegisterVm:
        rig.command(HostCreateVm(vm=VM))
        rig.command(HostUnregisterVm(vm=VM))
    rig.store().full = True
    assert isinstance(rig.refused_command(command(vm=VM)), SaveFailed)
    assert rig.summary().vms == ()
    rig.store().full = False
    rig.command(command(vm=VM))
    rig.reboot()
    assert [vm.vm for vm in rig.summary().vms] == [VM], "a repeat did not save it"


@pytest.mark.parametrize("command", [HostCreateVm, HostRegisterVm])
def test_a_registration_that_could_not_be_saved_does_not_go_along_with_the_next(
    rig: Rig, command: type[HostCreateVm | HostRegisterVm]
) -> None:
    rig.up()
    if command is HostRegisterVm:
        rig.command(HostCreateVm(vm=VM))
        rig.command(HostUnregisterVm(vm=VM))
    rig.store().full = True
    assert isinstance(rig.refused_command(command(vm=VM)), SaveFailed)
    rig.store().full = False
    other = VmName("vm-02")
    rig.command(HostCreateVm(vm=other))
    rig.reboot()
    assert [vm.vm for vm in rig.summary().vms] == [other]


def test_an_encrypted_vm_works_and_its_data_is_nowhere_in_clear(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    assert rig.works()
    assert rig.works()
    everything = datastore_bytes(rig) + b"".join(data for _, data in rig.store().images())
    seed = guest_seed(MARKER)
    assert seed not in everything
    assert guest_block(seed, 1, 0)[200:300] not in everything
    assert material(key("kek-1")).reveal() not in everything


def test_an_unencrypted_vm_shows_its_data_to_the_same_scan(rig: Rig) -> None:
    """Positive control of the scan above."""
    rig.up()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestWrite(vm=VM, marker=MARKER))
    assert rig.works()
    assert guest_seed(MARKER) in datastore_bytes(rig)


def test_after_encryption_the_clear_disk_is_empty(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.add_keys(key("k"))
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestWrite(vm=VM, marker=MARKER))
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(ReconfigureVm(vm=VM, key=key("k")))
    assert folder(rig)["disk-1.vmdk"] == b""
    assert guest_seed(MARKER) not in datastore_bytes(rig)
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_the_workload_verifies_and_rewrites_on_the_datastore(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    journal = slice(8 * BLOCK_SIZE, 9 * BLOCK_SIZE)
    before = bytes(folder(rig)[DISK][journal])
    rig.sleep(70)
    assert bytes(folder(rig)[DISK][journal]) != before
    assert rig.works()
    assert not rig.kinds("vm.guest_fault")


@pytest.mark.parametrize("at", [0, 100, 4095])
def test_one_flipped_ciphertext_bit_is_noticed(rig: Rig, at: int) -> None:
    """Negative control of every answer: the guest faults, and stays faulted."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    assert rig.works()
    folder(rig)[DISK][3 * BLOCK_SIZE + at] ^= 1
    assert isinstance(rig.refused_door(CHALLENGE), GuestFault)
    folder(rig)[DISK][3 * BLOCK_SIZE + at] ^= 1
    assert isinstance(rig.refused_door(CHALLENGE), GuestFault)


@pytest.mark.parametrize("order", [GuestWrite(vm=VM, marker=b"another"), CHALLENGE])
def test_what_does_not_lie_there_as_it_was_written_is_noticed(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, order: GuestWrite | GuestChallenge
) -> None:
    """A datastore that takes a write and keeps one bit of it otherwise."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    kept = SimDatastore._write_part

    def one_bit_off(self: SimDatastore, vm: str, file: str, *written: Any) -> None:
        kept(self, vm, file, *written)
        self._file(vm, file)[BLOCK_SIZE * max(written[0]) + 4095] ^= 1

    monkeypatch.setattr(SimDatastore, "_write_part", one_bit_off)
    assert isinstance(rig.refused_door(order), GuestFault)
    monkeypatch.undo()
    assert isinstance(rig.refused_door(CHALLENGE), GuestFault)


def test_the_workload_finds_a_flipped_bit_by_itself(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    folder(rig)[DISK][3 * BLOCK_SIZE + 7] ^= 1
    rig.sleep(10 * 35)
    assert [fault["vm"] for fault in rig.kinds("vm.guest_fault")] == [VM]


def test_a_flipped_bit_under_a_powered_off_vm_stops_its_start(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    folder(rig)[DISK][7 * BLOCK_SIZE] ^= 1
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), GuestFault)
    assert rig.vm().power is PowerState.OFF


def test_a_replaced_wrapped_dek_is_noticed(rig: Rig) -> None:
    """Negative control: the wrapped DEK of another VM under the same KEK does not open."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.encrypted_vm(VmName("vm-02"), on=False)
    mine, other = (rig.host().vms[VmName(vm)].config for vm in (VM, "vm-02"))
    assert mine is not None and other is not None
    my_dek, other_dek = mine.disks[0].dek, other.disks[0].dek
    assert my_dek is not None and other_dek is not None
    vmx = bytes(folder(rig)[f"{VM}.vmx"])
    assert my_dek.wrapped in vmx
    replaced = vmx[4:].replace(my_dek.wrapped, other_dek.wrapped)
    folder(rig)[f"{VM}.vmx"] = bytearray(vmx[:4] + replaced)
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), DatastoreFault)
    folder(rig)[f"{VM}.vmx"] = bytearray(add_checksum(replaced))  # by who knows the check
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, GuestFault)
    assert "DEK" in str(refused)


def test_a_lost_key_locks_only_at_power_on(rig: Rig) -> None:
    """LOCK-02, LOCK-04, 2.2: running VMs go on; afterwards the refusal names the key."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    rig.command(RemoveKeys(keys=(key("kek-1"),)))
    running = rig.vm()
    assert (running.crypto, running.missing) == (VmCryptoState.UNLOCKED, ())
    rig.sleep(60)
    assert rig.works()
    rig.command(HostPowerOffVm(vm=VM))
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, EncryptionKeyRequired)
    assert refused.keys == (key("kek-1"),)
    locked = rig.vm()
    assert locked.crypto is VmCryptoState.LOCKED
    assert locked.connection is VmConnectionState.INVALID
    assert locked.missing == (key("kek-1"),)
    assert locked.power is PowerState.OFF
    rig.add_keys(key("kek-1"))
    assert rig.vm().crypto is VmCryptoState.UNLOCKED
    assert rig.vm().connection is VmConnectionState.CONNECTED
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_keys_are_looked_for_before_the_mode_is_checked(rig: Rig) -> None:
    """Z23: a prepared host without the key names it; with the key it is the mode."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.reboot()
    rig.connect()
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), EncryptionKeyRequired)
    rig.add_keys(key("kek-1"))
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), InvalidState)
    assert rig.vm().crypto is VmCryptoState.UNLOCKED
    rig.make_safe()
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_what_encrypting_asks_for(rig: Rig) -> None:
    rig.up()
    encrypt = ReconfigureVm(vm=VM, key=key("k"))
    assert isinstance(rig.refused_command(encrypt), NotFound)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    assert isinstance(rig.refused_command(encrypt), EncryptionKeyRequired)
    rig.make_safe()
    rig.add_keys(key("k"), key("other"))
    rig.command(HostPowerOnVm(vm=VM))
    assert isinstance(rig.refused_command(encrypt), InvalidPowerState)
    rig.command(HostPowerOffVm(vm=VM))
    first = rig.command(encrypt).summary
    before = bytes(folder(rig)[DISK])
    assert rig.command(encrypt).summary == first
    assert bytes(folder(rig)[DISK]) == before
    assert isinstance(rig.refused_command(ReconfigureVm(vm=VM, key=key("other"))), InvalidState)
    assert isinstance(rig.refused_command(ReconfigureVm(vm=VM)), InvalidArgument)


def test_a_host_that_is_only_prepared_encrypts_nothing(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.command(CryptoManagerHostDisable())
    rig.command(HostCreateVm(vm=VM, blocks=8))
    refused = rig.refused_command(ReconfigureVm(vm=VM, key=key("k")))
    assert isinstance(refused, EncryptionKeyRequired)
    rig.host().keys.add(StoredKey(key("k"), material(key("k"))))
    assert isinstance(rig.refused_command(ReconfigureVm(vm=VM, key=key("k"))), InvalidState)


def test_creating_and_registering(rig: Rig) -> None:
    rig.up()
    for blocks in (0, 1 << 20):
        refused = rig.refused_command(HostCreateVm(vm=VM, blocks=blocks))
        assert isinstance(refused, InvalidArgument)
    for name in ("", "..", "../../x", "a/b", "a\n", "x" * 81):
        for bad in (HostCreateVm(vm=VmName(name)), HostRegisterVm(vm=VmName(name))):
            assert isinstance(rig.refused_command(bad), InvalidName)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.reboot(way="power_loss")
    rig.connect()
    assert [vm.vm for vm in rig.summary().vms] == [VM]
    rig.command(HostUnregisterVm(vm=VM))
    rig.command(HostUnregisterVm(vm=VM))
    assert rig.summary().vms == ()
    assert isinstance(rig.refused_command(HostCreateVm(vm=VM, blocks=8)), AlreadyExists)
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), NotFound)
    rig.command(HostRegisterVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    for refused_while_running in (HostUnregisterVm(vm=VM), HostDestroyVm(vm=VM)):
        assert isinstance(rig.refused_command(refused_while_running), InvalidPowerState)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostDestroyVm(vm=VM))
    rig.command(HostDestroyVm(vm=VM))
    assert VM not in rig.array.folders
    assert isinstance(rig.refused_command(HostRegisterVm(vm=VM)), NotFound)
    rig.reboot(way="power_loss")
    assert rig.summary().vms == ()


@pytest.mark.parametrize("file", ["disk-1.vmdk", POWER_FILE, vmx_file(VM)])
def test_a_vm_that_cannot_be_written_is_neither_registered_nor_half_there(
    rig: Rig, file: str
) -> None:
    rig.up()
    refusing = True

    async def charge(call: str) -> None:
        if refusing and call == f"datastore.write {VM}/{file}":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rig.array.charge = charge
    assert isinstance(rig.refused_command(HostCreateVm(vm=VM, blocks=8)), DatastoreFault)
    refusing = False
    assert VM not in rig.array.folders
    assert rig.summary().vms == ()
    rig.reboot(way="power_loss")
    assert rig.summary().vms == ()
    rig.connect()
    rig.command(HostCreateVm(vm=VM, blocks=8))


def test_a_vm_that_runs_elsewhere_keeps_its_files(rig: Rig) -> None:
    rig.up(A)
    rig.up(B)
    rig.command(HostCreateVm(vm=VM, blocks=8), A)
    rig.command(HostRegisterVm(vm=VM), B)
    rig.command(HostPowerOnVm(vm=VM), A)
    refused = rig.refused_command(HostDestroyVm(vm=VM), B)
    assert isinstance(refused, DatastoreFault)
    assert A in str(refused)
    assert vmx_file(VM) in folder(rig)
    assert [vm.vm for vm in rig.summary(B).vms] == [VM]


def test_one_vm_taken_off_a_host_takes_no_other_with_it(rig: Rig) -> None:
    rig.up()
    names = tuple(VmName(f"vm-0{n}") for n in (1, 2, 3))
    for name in names:
        rig.command(HostCreateVm(vm=name, blocks=1))
    rig.command(HostUnregisterVm(vm=names[1]))
    assert [vm.vm for vm in rig.summary().vms] == [names[0], names[2]]
    rig.reboot(way="power_loss")
    assert [vm.vm for vm in rig.summary().vms] == [names[0], names[2]]


def test_a_running_vm_is_locked_on_the_datastore_until_its_host_falls(rig: Rig) -> None:
    rig.up()
    rig.up(B)
    for host in (A, B):
        rig.make_safe(host)
    rig.encrypted_vm()
    rig.add_keys(key("kek-1"), node=B)
    rig.command(HostRegisterVm(vm=VM), B)
    refused = rig.refused_command(HostPowerOnVm(vm=VM), B)
    assert isinstance(refused, DatastoreFault)
    assert A in str(refused)
    assert isinstance(rig.refused_command(HostPowerOffVm(vm=VM), B), DatastoreFault)
    assert rig.works()
    rig.power_off(A, "crash")
    rig.command(HostPowerOnVm(vm=VM), B)
    assert rig.works(node=B)


def test_a_host_is_no_other_host_to_itself_while_it_changes_a_vm(rig: Rig) -> None:
    """It has the lock then, and the VM does not run."""
    rig.up()
    rig.command(HostCreateVm(vm=VM, blocks=8))

    async def charge(call: str) -> None:
        if call == f"datastore.remove {VM}":
            await rig.world.sleep(2)

    rig.array.charge = charge
    rig.accept([HostDestroyVm(vm=VM)], outcomes := [None])
    rig.sleep(1)
    assert outcomes == [None] and rig.vm().locked_by is None
    rig.sleep(2)
    assert rig.summary().vms == ()


def test_a_vm_that_could_not_be_started_is_not_locked(rig: Rig) -> None:
    """Another host that has its key starts it."""
    for host in (A, B):
        rig.up(host)
        rig.make_safe(host)
    rig.encrypted_vm(on=False)
    rig.command(RemoveKeys(keys=(key("kek-1"),)))
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), EncryptionKeyRequired)
    rig.command(HostRegisterVm(vm=VM), B)
    assert rig.vm(node=B).locked_by is None
    rig.add_keys(key("kek-1"), node=B)
    rig.command(HostPowerOnVm(vm=VM), B)
    assert rig.works(node=B)


def test_a_guest_answers_only_while_it_runs_and_only_sensible_questions(rig: Rig) -> None:
    rig.up()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    assert isinstance(rig.refused_door(CHALLENGE), InvalidPowerState)
    assert isinstance(rig.refused_door(GuestWrite(vm=VM, marker=b"m")), InvalidPowerState)
    rig.command(HostPowerOnVm(vm=VM))
    for blocks in ((), (8,), (-1,), (0, 99)):
        asked = GuestChallenge(vm=VM, nonce=b"n", blocks=blocks)
        assert isinstance(rig.refused_door(asked), InvalidArgument)
    rig.console(GuestWrite(vm=VM, marker=MARKER))
    assert rig.works()


def test_an_answer_comes_from_the_datastore_and_not_from_memory(rig: Rig) -> None:
    """Swap two blocks' ciphertext: each is a good block elsewhere, and is refused here."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm()
    assert rig.works()
    disk = folder(rig)[DISK]
    one, three = slice(BLOCK_SIZE, 2 * BLOCK_SIZE), slice(3 * BLOCK_SIZE, 4 * BLOCK_SIZE)
    disk[one], disk[three] = disk[three], disk[one]
    assert isinstance(rig.refused_door(CHALLENGE), GuestFault)


def test_a_vm_whose_home_alone_is_encrypted_opens_with_the_key_of_its_home() -> None:
    """VTPM-02: the home is encrypted, the disks are not; then the disk has no DEK."""
    rng = SimRng(1, Incarnation(A, 1))
    clear = new_config(VM, 8, rng)
    whole, opened = encrypt_config(clear, key("kek"), material(key("kek")), rng)
    keks = {key("kek"): material(key("kek"))}
    assert open_vm(whole, keks) == opened
    home_only = msgspec.structs.replace(
        whole, disks=tuple(msgspec.structs.replace(disk, dek=None) for disk in whole.disks)
    )
    assert home_only.encrypted and home_only.keys == (key("kek"),)
    assert open_vm(home_only, keks) == VmKeys((None,), opened.seed, opened.home)


def test_a_vm_made_encrypted_was_never_in_clear(rig: Rig) -> None:
    rig.up()
    made = HostCreateVm(vm=VM, blocks=8, key=key("kek-1"))
    assert isinstance(rig.refused_command(made), EncryptionKeyRequired)
    rig.make_safe()
    assert isinstance(rig.refused_command(made), EncryptionKeyRequired)
    assert rig.summary().vms == () and rig.array.folders == {}
    rig.add_keys(key("kek-1"))
    vm = rig.command(made).summary
    assert vm.keys == (key("kek-1"),) and vm.crypto is VmCryptoState.UNLOCKED
    assert b"KSGUEST1" not in datastore_bytes(rig)
    assert rig.command(made).summary == vm
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestWrite(vm=VM, marker=MARKER))
    assert rig.works()


def test_a_host_makes_no_vm_under_a_key_of_its_own(rig: Rig) -> None:
    rig.up()
    refused = rig.refused_command(HostCreateVm(vm=VM, provider=PROVIDER))
    assert isinstance(refused, NotAvailable)
    assert rig.summary().vms == ()


def test_a_host_sees_which_other_host_holds_a_lock(rig: Rig) -> None:
    rig.up(A)
    rig.up(B)
    rig.command(HostCreateVm(vm=VM, blocks=8), A)
    rig.command(HostRegisterVm(vm=VM), B)
    assert (rig.vm(node=A).locked_by, rig.vm(node=B).locked_by) == (None, None)
    rig.command(HostPowerOnVm(vm=VM), A)
    assert (rig.vm(node=A).locked_by, rig.vm(node=B).locked_by) == (None, A)
    rig.power_off(A, "crash")
    assert rig.vm(node=B).locked_by is None
    rig.command(HostPowerOnVm(vm=VM), B)
    assert rig.vm(node=B).locked_by is None
