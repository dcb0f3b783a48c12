"""Virtual TPMs of VMs: what they need, what they are for, and that nothing answered is lost."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.errors import (
    CryptographicFailure,
    DatastoreFault,
    EncryptionKeyRequired,
    GuestFault,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotFound,
)
from protocol.guest_tpm import flaw_of, secret_of
from protocol.messages.agent import NodeRunState, TpmBackend
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.vms import (
    GuestTpmAnswered,
    GuestTpmChallenge,
    GuestTpmSeal,
    GuestTpmSealed,
    HostAddVtpm,
    HostCreateVm,
    HostDecryptVm,
    HostDestroyVm,
    HostMigrateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostPrepareMigration,
    HostRecryptVm,
    HostRegisterVm,
    HostRemoveVtpm,
    HostUnregisterVm,
    QueryVmConfig,
    ReconfigureVm,
    StreamKey,
)
from protocol.secret import KeyMaterial
from protocol.terms import VmConnectionState, VmCryptoState, VmName
from protocol.tpm.structures import PublicArea
from services.esxi.vms.file_formats import decrypt_nvram, encrypt_nvram, nvram_file
from services.esxi.vms.power import vtpm_means
from services.esxi.vms.vtpm import Vtpm
from services.runtime.incarnation import Incarnation
from services.runtime.sim.clock_and_rng import SimRng
from services.runtime.virtual_tpm import VirtualTpmState
from tests.services.esxi.rig import PROVIDER, VM, A, B, Rig, key
from tests.services.esxi.test_crash_points import WAYS, sweep
from tests.services.runtime.tpm.conftest import LIBTPMS, MODEL

KEK = key("kek-1")
SEALED = b"what the questioner gives for it"
SECRET = secret_of(SEALED)
OTHER = VmName("vm-02")


class Asker:
    """Keeps what a questioner keeps of a vTPM, and judges answers."""

    def __init__(self, rig: Rig, vm: VmName = VM) -> None:
        self.rig, self.vm, self.nonce = rig, vm, 0
        self.sealed: GuestTpmSealed | None = None
        self.last = 0

    def seal(self, node: Any = A) -> GuestTpmSealed:
        sealed = self.rig.console(GuestTpmSeal(vm=self.vm, marker=SEALED), node)
        self.sealed, self.last = sealed, sealed.counter
        return sealed

    def flaw(self, node: Any = A) -> str:
        """What is wrong with an answer to a fresh challenge; empty when it is right."""
        self.nonce += 1
        nonce = self.nonce.to_bytes(16, "big")
        reply: GuestTpmAnswered = self.rig.console(GuestTpmChallenge(vm=self.vm, nonce=nonce), node)
        assert self.sealed is not None
        found = flaw_of(
            reply.answer,
            ak=PublicArea(self.sealed.ak),
            secret=SECRET,
            nonce=nonce,
            last=self.last,
        )
        self.last = max(self.last, reply.answer.counter)
        return found


def file_of(rig: Rig, vm: VmName = VM) -> bytearray:
    return rig.array.folders[vm][nvram_file(vm)]


def clear_vm(rig: Rig, vm: VmName = VM, **fields: Any) -> None:
    rig.make_safe()
    rig.add_keys(KEK)
    rig.command(HostCreateVm(vm=vm, blocks=8, **fields))


def running(rig: Rig, vm: VmName = VM) -> Asker:
    """A VM with a vTPM and a disk in clear, running, its secret sealed."""
    clear_vm(rig, vm)
    rig.command(HostAddVtpm(vm=vm, key=KEK))
    rig.command(HostPowerOnVm(vm=vm))
    asker = Asker(rig, vm)
    asker.seal()
    return asker


@pytest.mark.parametrize("tpm", [MODEL, LIBTPMS])
def test_a_guest_proves_its_vtpm(rig: Rig, tpm: TpmBackend) -> None:
    """VTPM-01: over challenges, power cycles of the VM and of the host, it is the same TPM."""
    rig.up(tpm=tpm)
    asker = running(rig)
    assert asker.flaw() == asker.flaw() == ""
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    assert asker.flaw() == ""
    rig.reboot(way="power_loss")
    rig.connect()
    rig.make_safe()
    rig.add_keys(KEK)
    rig.command(HostPowerOnVm(vm=VM))
    assert asker.flaw() == ""


def test_a_host_needs_no_tpm_for_it(rig: Rig) -> None:
    """VTPM-01."""
    rig.up(tpm=TpmBackend.NONE)
    assert running(rig).flaw() == ""


def test_the_home_is_encrypted_and_the_disk_is_not(rig: Rig) -> None:
    """VTPM-02."""
    rig.up()
    clear_vm(rig)
    summary = rig.command(HostAddVtpm(vm=VM, key=KEK)).summary
    assert summary.crypto is VmCryptoState.UNLOCKED and summary.keys == (KEK,)
    assert summary.vtpm is True
    state = rig.console(QueryVmConfig(vm=VM))
    assert (state.home_encrypted, state.disks_encrypted, state.vtpm) == (True, False, True)
    assert bytes(rig.array.folders[VM]["disk-1.vmdk"]).startswith(b"KSGUEST1")


def test_nothing_of_it_lies_in_clear(rig: Rig) -> None:
    """The secret and the TPM's state are nowhere on the datastore, and in no record."""
    rig.up()
    running(rig)
    at_rest = b"".join(data for _, data in rig.array.images())
    assert SECRET.reveal() not in at_rest
    assert b"KSTPM2" not in at_rest
    assert SECRET.reveal() not in repr(rig.records).encode()


@pytest.mark.parametrize(
    ("fields", "says"), [({"firmware": "bios"}, "EFI"), ({"hardware": 13}, "hardware version 14")]
)
def test_what_a_vm_needs_for_it(rig: Rig, fields: dict[str, Any], says: str) -> None:
    """VTPM-02: refused, and nothing is left behind."""
    rig.up()
    clear_vm(rig, **fields)
    refused = rig.refused_command(HostAddVtpm(vm=VM, key=KEK))
    assert isinstance(refused, InvalidArgument) and says in str(refused)
    assert nvram_file(VM) not in rig.array.folders[VM]
    assert rig.vm().keys == ()


def test_firmware_and_hardware_that_are_none(rig: Rig) -> None:
    rig.up()
    for fields in ({"firmware": "openboot"}, {"hardware": 3}, {"hardware": 22}):
        assert isinstance(
            rig.refused_command(HostCreateVm(vm=VM, blocks=8, **fields)), InvalidArgument
        )


def test_it_is_added_and_removed_while_the_vm_is_off(rig: Rig) -> None:
    rig.up()
    running(rig)
    clear_vm(rig, OTHER)
    rig.command(HostPowerOnVm(vm=OTHER))
    for refused in (HostAddVtpm(vm=OTHER, key=KEK), HostRemoveVtpm(vm=VM)):
        assert isinstance(rig.refused_command(refused), InvalidPowerState)


def test_adding_twice_is_adding_once(rig: Rig) -> None:
    rig.up()
    asker = running(rig)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostAddVtpm(vm=VM, key=key("kek-2")))
    rig.command(HostPowerOnVm(vm=VM))
    assert asker.flaw() == ""


def test_without_the_home_key_it_is_locked_and_invalid(rig: Rig) -> None:
    """VTPM-06, LOCK-02: though its disk is in clear."""
    rig.up()
    running(rig)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(RemoveKeys(keys=(KEK,)))
    vm = rig.vm()
    assert vm.crypto is VmCryptoState.LOCKED
    assert vm.connection is VmConnectionState.INVALID
    for message in (HostPowerOnVm(vm=VM), HostRemoveVtpm(vm=VM)):
        refused = rig.refused_command(message)
        assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (KEK,)


def test_while_it_runs_no_key_is_needed(rig: Rig) -> None:
    """VTPM-05: it is served from memory, and saved under the DEK in memory."""
    rig.up()
    asker = running(rig)
    rig.command(RemoveKeys(keys=(KEK,)))
    before = bytes(file_of(rig))
    assert asker.flaw() == ""
    assert bytes(file_of(rig)) != before


def test_removing_it_decrypts_the_home_and_destroys_what_is_in_it(rig: Rig) -> None:
    """VTPM-03: another one that is added later is another TPM."""
    rig.up()
    asker = running(rig)
    first = asker.sealed
    rig.command(HostPowerOffVm(vm=VM))
    summary = rig.command(HostRemoveVtpm(vm=VM)).summary
    assert summary.crypto is None and summary.keys == ()
    assert not file_of(rig)
    rig.command(HostRemoveVtpm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    assert isinstance(rig.refused_door(GuestTpmChallenge(vm=VM, nonce=b"n")), NotFound)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostAddVtpm(vm=VM, key=KEK))
    rig.command(HostPowerOnVm(vm=VM))
    assert first is not None and asker.seal().ek != first.ek


def test_a_home_that_a_disk_needs_stays_encrypted(rig: Rig) -> None:
    """VTPM-03: unless something else asks for encryption."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.command(HostAddVtpm(vm=VM))
    assert rig.vm().keys == (KEK,)
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()
    asker = Asker(rig)
    asker.seal()
    assert asker.flaw() == ""
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostRemoveVtpm(vm=VM))
    assert rig.vm().keys == (KEK,)
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_the_state_of_another_vm_or_vtpm_does_not_open(rig: Rig) -> None:
    """The file is bound to its VM, its vTPM and the number of its save."""
    rig.up()
    running(rig)
    running(rig, OTHER)
    for vm in (VM, OTHER):
        rig.command(HostPowerOffVm(vm=vm))
    own = bytes(file_of(rig))
    for foreign in (bytes(file_of(rig, OTHER)), own[:-1], own[:15] + b"\x7f" + own[16:], b""):
        file_of(rig)[:] = foreign
        refused = rig.refused_command(HostPowerOnVm(vm=VM))
        assert isinstance(refused, GuestFault) and "virtual TPM" in str(refused)
    del rig.array.folders[VM][nvram_file(VM)]
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), GuestFault)
    rig.array.folders[VM][nvram_file(VM)] = bytearray(own)
    rig.command(HostPowerOnVm(vm=VM))


def test_an_older_state_is_told(rig: Rig) -> None:
    """The TPM does not notice that its file was put back; who asks it does, by its counter."""
    rig.up()
    asker = running(rig)
    old = bytes(file_of(rig))
    assert asker.flaw() == asker.flaw() == ""
    rig.command(HostPowerOffVm(vm=VM))
    file_of(rig)[:] = old
    rig.command(HostPowerOnVm(vm=VM))
    assert "counter" in asker.flaw()


def test_the_file_is_bound_to_vm_vtpm_and_number() -> None:
    """Also under the same DEK, which a clone shares with its source."""
    rng, home = SimRng(1, Incarnation(A, 1)), KeyMaterial(b"d" * 32)
    state = VirtualTpmState(b"seeds and NV", b"PCRs")
    data = encrypt_nvram(VM, b"ek", state, 7, home, rng)
    assert decrypt_nvram(VM, b"ek", data, home) == (state.without_power(), 7)
    other_number = data[:15] + b"\x08" + data[16:]
    for vm, ek, file in ((OTHER, b"ek", data), (VM, b"e2", data), (VM, b"ek", other_number)):
        with pytest.raises(CryptographicFailure):
            decrypt_nvram(vm, ek, file, home)


def test_vtpms_share_nothing(rig: Rig) -> None:
    """Asked in turns, each answers with its own key and secret."""
    rig.up()
    one, other = running(rig), running(rig, OTHER)
    for _ in range(3):
        assert one.flaw() == other.flaw() == ""
    assert one.sealed is not None and other.sealed is not None
    assert one.sealed.ak != other.sealed.ak and one.sealed.ek != other.sealed.ek


def test_a_datastore_that_refuses_has_nothing_acknowledged(rig: Rig) -> None:
    """A command that cannot be saved has not happened; the vTPM goes on when there is room."""
    rig.up()
    asker = running(rig)
    real = rig.host().datastore.write

    async def refuses(vm: str, file: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    rig.host().datastore.write = refuses  # type: ignore[method-assign]
    refused = rig.refused_door(GuestTpmChallenge(vm=VM, nonce=b"n"))
    assert isinstance(refused, DatastoreFault)
    rig.host().datastore.write = real  # type: ignore[method-assign]
    assert asker.flaw() == ""


def test_the_guest_works_with_it_in_the_background(rig: Rig) -> None:
    """It unseals, quotes and counts by itself; what it finds wrong it tells."""
    rig.up(knobs={"workload_period_s": 5.0})
    asker = running(rig)
    before, counter = bytes(file_of(rig)), asker.last
    rig.sleep(30.0)
    assert bytes(file_of(rig)) != before
    assert asker.flaw() == ""
    assert asker.last - counter > 1, "the challenge is not all that was counted"
    assert not rig.kinds("vm.guest_fault")


def test_destroying_the_vm_takes_it_along(rig: Rig) -> None:
    rig.up()
    running(rig)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostDestroyVm(vm=VM))
    assert VM not in rig.array.folders


def test_another_host_goes_on_with_it(rig: Rig) -> None:
    """VTPM-09: who has the files and the key has the vTPM."""
    rig.up()
    asker = running(rig)
    assert asker.flaw() == ""
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostUnregisterVm(vm=VM))
    rig.up(B)
    rig.make_safe(B)
    rig.add_keys(KEK, node=B)
    rig.command(HostRegisterVm(vm=VM), B)
    assert rig.vm(node=B).vtpm is True
    rig.command(HostPowerOnVm(vm=VM), B)
    assert asker.flaw(B) == ""


def test_a_running_one_is_handed_over(rig: Rig) -> None:
    """VTPM-10's other half: with its power and its PCRs, from bytes."""
    rig.up()
    asker = running(rig)
    assert asker.flaw() == ""
    host = rig.host()
    guest = host.vms[VM].guest
    assert guest is not None and guest.vtpm is not None
    handed = guest.vtpm.pack_for_handover()
    home = guest.vtpm._home
    guest.vtpm = Vtpm.take_over(vtpm_means(host), guest.config, home, handed)
    assert asker.flaw() == ""


def test_it_moves_with_the_running_vm(rig: Rig) -> None:
    """VTPM-10: its memory goes along, so that no PCR is as after a power-on."""
    rig.up()
    asker = running(rig)
    rig.up(B)
    rig.make_safe(B)
    rig.add_keys(KEK, node=B)
    assert asker.flaw() == ""
    before = rig.host().vms[VM].guest
    assert before is not None and before.vtpm is not None
    stream, secret = StreamKey(nonce_base=b"8 bytes."), KeyMaterial(b"k" * 32)
    both: dict[str, Any] = {"vm": VM, "migration": "m-1", "stream": stream}
    rig.command(HostPrepareMigration(**both, source=A, material=Sealed.of(secret)), B)
    rig.command(HostMigrateVm(**both, target=B, material=Sealed.of(secret)), A)
    nonce = GuestTpmChallenge(vm=VM, nonce=b"n")
    assert rig.console(nonce, B).answer.before != bytes(32)
    assert asker.flaw(B) == ""


@pytest.mark.parametrize("deep", [False, True])
def test_it_outlives_a_recrypt(rig: Rig, deep: bool) -> None:
    """REK-01, REK-02: a deep one gives the home another DEK, and the state lies under that."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.command(HostAddVtpm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    asker = Asker(rig)
    asker.seal()
    rig.command(HostPowerOffVm(vm=VM))
    rig.add_keys(key("kek-2"))
    recrypt = HostRecryptVm(vm=VM, old=(KEK,), provider=PROVIDER, key=key("kek-2"), deep=deep)
    rig.command(recrypt)
    rig.command(HostPowerOnVm(vm=VM))
    assert asker.flaw() == ""
    assert bool(file_of(rig)) is not deep  # the file under the old DEK is emptied
    rig.command(HostPowerOffVm(vm=VM))
    assert isinstance(rig.refused_command(HostDecryptVm(vm=VM)), InvalidState)


# ---- crashes --------------------------------------------------------------------------------


def _prepared(rig: Rig) -> None:
    rig.up()
    clear_vm(rig)


def _back(rig: Rig) -> None:
    if rig.status().state is not NodeRunState.RUNNING:
        rig.power_on()
    rig.connect()
    rig.make_safe()
    rig.add_keys(KEK)


def _disks_in_clear(rig: Rig) -> None:
    _prepared(rig)
    rig.command(HostAddVtpm(vm=VM, key=KEK))
    assert rig.console(QueryVmConfig(vm=VM)).disks_in_clear


def test_the_disks_of_a_vm_with_a_vtpm_come_under_the_key_of_its_home(rig: Rig) -> None:
    """KEY-04: one key for all of it; afterwards removing the vTPM leaves an encrypted VM."""
    _disks_in_clear(rig)
    rig.add_keys(key("kek-2"))
    stranger = ReconfigureVm(vm=VM, key=key("kek-2"))
    assert isinstance(rig.refused_command(stranger), InvalidState)
    assert rig.command(ReconfigureVm(vm=VM, key=KEK)).summary.keys == (KEK,)
    assert not rig.array.folders[VM]["disk-1.vmdk"], "the clear file is emptied"
    rig.command(HostPowerOnVm(vm=VM))
    asker = Asker(rig)
    asker.seal()
    assert asker.flaw() == ""
    rig.command(HostPowerOffVm(vm=VM))
    assert rig.command(HostRemoveVtpm(vm=VM)).summary.crypto is VmCryptoState.UNLOCKED
    rig.command(HostPowerOnVm(vm=VM))


@pytest.mark.parametrize("way", WAYS)
def test_encrypting_its_disks_leaves_the_old_or_the_new_whole(way: str) -> None:
    encrypt = ReconfigureVm(vm=VM, key=KEK)
    for rig in sweep(way, _disks_in_clear, lambda rig: rig.command(encrypt)):
        _back(rig)
        rig.command(encrypt)
        assert not rig.console(QueryVmConfig(vm=VM)).disks_in_clear
        rig.command(HostPowerOnVm(vm=VM))


@pytest.mark.parametrize("way", WAYS)
def test_adding_leaves_the_old_or_the_new_whole(way: str) -> None:
    """A repeat after a fall at any call of the storage has a vTPM that works."""
    for rig in sweep(way, _prepared, lambda rig: rig.command(HostAddVtpm(vm=VM, key=KEK))):
        _back(rig)
        config = rig.console(QueryVmConfig(vm=VM))
        assert config.vtpm == config.home_encrypted
        rig.command(HostAddVtpm(vm=VM, key=KEK))
        rig.command(HostPowerOnVm(vm=VM))
        asker = Asker(rig)
        asker.seal()
        assert asker.flaw() == ""


@pytest.mark.parametrize("way", WAYS)
def test_removing_leaves_the_old_or_the_new_whole(way: str) -> None:
    def prepare(rig: Rig) -> None:
        _prepared(rig)
        rig.command(HostAddVtpm(vm=VM, key=KEK))

    for rig in sweep(way, prepare, lambda rig: rig.command(HostRemoveVtpm(vm=VM))):
        _back(rig)
        config = rig.console(QueryVmConfig(vm=VM))
        assert config.vtpm == config.home_encrypted
        rig.command(HostPowerOnVm(vm=VM))
        assert config.vtpm or not file_of(rig)


@pytest.mark.parametrize("way", WAYS)
def test_no_answered_guest_command_is_lost(way: str) -> None:
    """A fall at any call of the storage: what was answered before is there, and counts on."""
    askers: dict[int, Asker] = {}

    def prepare(rig: Rig) -> None:
        rig.up()
        askers[id(rig)] = running(rig)

    def story(rig: Rig) -> None:
        for _ in range(3):
            assert askers[id(rig)].flaw() == ""

    for rig in sweep(way, prepare, story):
        _back(rig)
        rig.command(HostPowerOnVm(vm=VM))
        assert askers[id(rig)].flaw() == ""
