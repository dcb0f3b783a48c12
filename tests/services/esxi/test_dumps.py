"""Core dumps: real data under the host key, and who can read them when (DUMP-01 to DUMP-04)."""

from __future__ import annotations

import errno
import os

import pytest

from protocol.errors import (
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidName,
    InvalidPowerState,
    InvalidState,
    NoPermission,
    NotFound,
    ResourceInUse,
    SaveFailed,
)
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import (
    DUMPS_LIMIT,
    MARKER_LIMIT,
    AddKeys,
    ChangeHostKey,
    CryptoManagerHostDisable,
    DecryptDump,
    Dump,
    ListDumps,
    RemoveDump,
    RemoveKeys,
    WriteDump,
)
from protocol.messages.host.vms import HostCreateVm, HostPowerOnVm
from protocol.terms import CryptoKeyId, HostCryptoState, KeyId, VmName
from services.runtime.sim.disk import SimDisk
from tests.services.esxi.rig import HOST_KEY, PROVIDER, VM, A, Rig, key, material

DUMP = "hostd-zdump.000"
FILE = f"core/{DUMP}.zdump"
MARKER = b"what only the one who had it written keeps"
OTHER = CryptoKeyId(KeyId("another-host-key"), PROVIDER)
ENABLE = "system security keypersistence enable"


def written(rig: Rig, dump: str = DUMP) -> Dump:
    return rig.console(WriteDump(dump=dump, marker=MARKER)).dump


def content(rig: Rig, dump: str = DUMP) -> bytes:
    return rig.console(DecryptDump(dump=dump)).content


def listed(rig: Rig) -> list[Dump]:
    return list(rig.console(ListDumps()).dumps)


def on_disk(rig: Rig) -> bytes:
    return b"".join(data for _, data in rig.store().images())


def change_to(key: CryptoKeyId) -> ChangeHostKey:
    return ChangeHostKey(key=key, material=Sealed.of(material(key)))


def safe(rig: Rig) -> None:
    rig.up()
    rig.make_safe()


def test_a_safe_host_encrypts_and_reads_it_again(rig: Rig) -> None:
    safe(rig)
    rig.encrypted_vm()
    dump = written(rig)
    assert (dump.dump, dump.boot, dump.key, dump.readable) == (DUMP, 1, HOST_KEY, True)
    assert MARKER not in on_disk(rig)
    text = content(rig)
    assert text.endswith(MARKER) and b"vm-01 poweredOn" in text
    assert not any(bytes(material(key).reveal()) in text for key in rig.host().keys.ids())
    assert rig.kinds("dump.written") == [{"dump": DUMP, "key": str(HOST_KEY), "file": FILE}]


def test_a_host_that_is_not_safe_dumps_in_clear(rig: Rig) -> None:
    rig.up()
    assert written(rig).key is None
    assert MARKER in on_disk(rig)
    assert content(rig).endswith(MARKER)


def test_a_name_that_is_taken_is_a_repeat(rig: Rig) -> None:
    safe(rig)
    first = written(rig)
    again = rig.console(WriteDump(dump=DUMP, marker=b"something else")).dump
    assert again == first and content(rig).endswith(MARKER)
    assert listed(rig) == [first]


def test_after_a_reboot_it_wants_the_host_key_back(rig: Rig) -> None:
    """DUMP-02: prepared, the host names the key; any dump under it opens when it is there."""
    safe(rig)
    written(rig)
    rig.reboot()
    assert rig.summary().crypto_state is HostCryptoState.PREPARED
    (left,) = listed(rig)
    assert (left.key, left.readable) == (HOST_KEY, False)
    refused = rig.refused_door(DecryptDump(dump=DUMP))
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (HOST_KEY,)
    rig.connect()
    rig.make_safe()
    assert content(rig).endswith(MARKER)


@pytest.mark.parametrize("way", ["stop", "power_loss"])
def test_a_persisted_host_key_reads_it_after_a_reboot(rig: Rig, way: str) -> None:
    safe(rig)
    assert rig.esxcli(ENABLE).exit_code == 0
    written(rig)
    rig.reboot(way=way)
    assert content(rig).endswith(MARKER)


def test_the_host_key_in_memory_reads_it_though_cache_and_store_lost_it(rig: Rig) -> None:
    safe(rig)
    written(rig)
    assert rig.console(RemoveKeys(keys=(HOST_KEY,))).results[0].success
    assert content(rig).endswith(MARKER)


def test_another_host_key_takes_the_dumps_along(rig: Rig) -> None:
    """C27: the file is under the new key alone afterwards; one in clear stays as it is."""
    rig.up()
    written(rig, "in-clear")
    rig.make_safe()
    written(rig)
    rig.command(change_to(OTHER))
    dump, clear = listed(rig)
    assert (dump.key, dump.readable) == (OTHER, True) and content(rig).endswith(MARKER)
    assert clear.key is None and not rig.kinds("dump.left")
    assert rig.kinds("dump.rewrapped") == [{"dump": DUMP, "key": str(OTHER)}]
    rig.reboot()
    rig.connect()
    rig.command(AddKeys(keys=(HOST_KEY,), material=Sealed.of(material(HOST_KEY))))
    assert isinstance(rig.refused_door(DecryptDump(dump=DUMP)), EncryptionKeyRequired)


def test_a_dump_whose_key_is_gone_is_left_and_told(rig: Rig) -> None:
    """HEM-07: a renewed host key leaves old dumps unreadable, and the change goes on."""
    safe(rig)
    written(rig)
    rig.reboot()
    rig.connect()
    rig.make_safe(host_key=OTHER)
    (dump,) = listed(rig)
    assert (dump.key, dump.readable) == (HOST_KEY, False)
    (left,) = rig.kinds("dump.left")
    assert left["dump"] == DUMP and "not in memory" in left["reason"]
    assert rig.summary().crypto_key_id == OTHER
    rig.command(AddKeys(keys=(HOST_KEY,), material=Sealed.of(material(HOST_KEY))))
    assert content(rig).endswith(MARKER), "a key that is brought as any other reads it"


def test_another_key_under_the_same_id_does_not_open_it(rig: Rig) -> None:
    safe(rig)
    written(rig)
    rig.reboot()
    rig.connect()
    rig.command(AddKeys(keys=(HOST_KEY,), material=Sealed.of(material(OTHER))))
    refused = rig.refused_door(DecryptDump(dump=DUMP))
    assert isinstance(refused, InvalidState) and "another one" in str(refused)


def damage(rig: Rig, data: bytes) -> None:
    """Put these bytes in the place of the dump's file."""
    disk = rig.host().disk
    rig.run(disk.write(FILE, data))
    rig.run(disk.sync(FILE))


def file_of(rig: Rig) -> bytes:
    return rig.run(rig.host().disk.read(FILE))


@pytest.mark.parametrize("at", [0, 5, 40, -1])
def test_a_damaged_dump_is_told_and_keeps_nothing_from_going_on(rig: Rig, at: int) -> None:
    safe(rig)
    written(rig)
    data = bytearray(file_of(rig))
    data[at] ^= 1
    damage(rig, bytes(data))
    refused = rig.refused_door(DecryptDump(dump=DUMP))
    assert isinstance(refused, InvalidState | EncryptionKeyRequired) and DUMP in str(refused)
    rig.command(change_to(OTHER))
    assert rig.summary().crypto_state is HostCryptoState.SAFE


@pytest.mark.slow
def test_no_changed_bit_of_a_dump_is_taken_for_its_content(rig: Rig) -> None:
    """In the names of its fields neither: what is wrapped is not told as what was in clear."""
    safe(rig)
    written(rig)
    whole, before = file_of(rig), content(rig)
    noticed = 0
    for at in range(len(whole)):
        for bit in range(8):
            data = bytearray(whole)
            data[at] ^= 1 << bit
            damage(rig, bytes(data))
            try:
                found = content(rig)
            except (InvalidState, EncryptionKeyRequired) as told:
                assert DUMP in str(told)
                noticed += 1
                continue
            assert found == before, (at, bit)
    assert noticed > 6 * len(whole)
    for size in range(len(whole)):
        damage(rig, whole[:size])
        assert isinstance(rig.refused_door(DecryptDump(dump=DUMP)), InvalidState)


def test_a_dump_under_another_name_does_not_open(rig: Rig) -> None:
    safe(rig)
    written(rig)
    damage(rig, file_of(rig).replace(b"zdump.000", b"zdump.001"))
    (told,) = listed(rig)
    assert told.dump == DUMP and "zdump.001" in told.problem
    assert isinstance(rig.refused_door(DecryptDump(dump=DUMP)), InvalidState)


def test_a_disk_that_refuses_leaves_no_dump_and_changes_the_host_key(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe(rig)
    written(rig)
    disk = rig.host().disk
    whole = disk.write

    async def full(path: str, data: bytes) -> None:
        if path.startswith("core/"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)
        await whole(path, data)

    monkeypatch.setattr(disk, "write", full)
    assert isinstance(rig.refused_door(WriteDump(dump="second")), SaveFailed)
    rig.command(change_to(OTHER))
    (left,) = rig.kinds("dump.left")
    assert "No space left" in left["reason"]
    assert [(dump.dump, dump.key) for dump in listed(rig)] == [(DUMP, HOST_KEY)]
    assert rig.summary().crypto_key_id == OTHER


def test_dumps_are_removed_for_good_and_limited(rig: Rig) -> None:
    safe(rig)
    for number in range(DUMPS_LIMIT):
        written(rig, f"d{number}")
    assert isinstance(rig.refused_door(WriteDump(dump="more")), ResourceInUse)
    rig.console(RemoveDump(dump="d0"))
    rig.console(RemoveDump(dump="d0"))
    rig.reboot(way="power_loss")
    assert "d0" not in [dump.dump for dump in listed(rig)] and len(listed(rig)) == DUMPS_LIMIT - 1
    assert isinstance(rig.refused_door(DecryptDump(dump="d0")), NotFound)


def test_words_that_do_not_fit_are_refused(rig: Rig) -> None:
    safe(rig)
    for message in (WriteDump(dump="../x"), DecryptDump(dump=""), RemoveDump(dump="a/b")):
        assert isinstance(rig.refused_door(message), InvalidName)
    long = WriteDump(dump=DUMP, marker=bytes(MARKER_LIMIT + 1))
    assert isinstance(rig.refused_door(long), InvalidArgument)
    asked = rig.controller.bus.request(A, ListDumps(), within_s=10)
    assert isinstance(rig.refusal(asked), NoPermission)


def test_disabling_the_mode_leaves_the_dump_behind(rig: Rig) -> None:
    """DUMP-03: without its host key a host has dumps that nothing there can read."""
    safe(rig)
    written(rig)
    rig.command(CryptoManagerHostDisable())
    assert content(rig).endswith(MARKER), "until the reboot the key is in memory"
    rig.reboot()
    assert isinstance(rig.refused_door(DecryptDump(dump=DUMP)), EncryptionKeyRequired)


# ---- the process of a VM --------------------------------------------------------------------


def of_vm(rig: Rig, dump: str = "vmx-zdump.000") -> Dump:
    return rig.console(WriteDump(dump=dump, marker=MARKER, vm=VM)).dump


def test_the_process_of_an_encrypted_vm_is_dumped_under_its_key(rig: Rig) -> None:
    """DUMP-01: after a reboot that key opens it, and the host key alone does not."""
    safe(rig)
    rig.encrypted_vm()
    dump = of_vm(rig)
    assert (dump.key, dump.readable) == (key("kek-1"), True)
    assert MARKER not in on_disk(rig)
    assert content(rig, dump.dump) == b"vmx of vm-01 on esxi-001, boot 1\n" + MARKER
    rig.reboot()
    rig.connect()
    rig.make_safe()
    refused = rig.refused_door(DecryptDump(dump=dump.dump))
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (key("kek-1"),)
    rig.add_keys(key("kek-1"))
    assert content(rig, dump.dump).endswith(MARKER)


def test_a_new_host_key_leaves_the_dump_of_a_vm_where_it_is(rig: Rig) -> None:
    safe(rig)
    rig.encrypted_vm()
    of_vm(rig)
    written(rig)
    rig.command(change_to(OTHER))
    assert {d.dump: d.key for d in listed(rig)} == {DUMP: OTHER, "vmx-zdump.000": key("kek-1")}
    assert content(rig, "vmx-zdump.000").endswith(MARKER)


def test_whose_process_is_dumped(rig: Rig) -> None:
    """A VM without encryption is dumped in clear; one that does not run has no process."""
    safe(rig)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    assert isinstance(rig.refused_door(WriteDump(dump="v", vm=VM)), InvalidPowerState)
    assert isinstance(rig.refused_door(WriteDump(dump="v", vm=VmName("no"))), NotFound)
    rig.command(HostPowerOnVm(vm=VM))
    assert of_vm(rig).key is None and MARKER in on_disk(rig)


def test_without_the_key_of_a_running_vm_there_is_no_dump(rig: Rig) -> None:
    safe(rig)
    rig.encrypted_vm()
    rig.command(RemoveKeys(keys=(key("kek-1"),)))
    refused = rig.refused_door(WriteDump(dump="v", vm=VM))
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (key("kek-1"),)
    assert listed(rig) == []


def test_a_dump_that_is_removed_while_they_are_listed_hides_no_other_one(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    safe(rig)
    written(rig)
    written(rig, "hostd-zdump.001")
    real = SimDisk.list

    async def meanwhile(self: SimDisk, folder: str = "") -> tuple[str, ...]:
        found = await real(self, folder)
        monkeypatch.setattr(SimDisk, "list", real)
        await self.remove(FILE)
        return found

    monkeypatch.setattr(SimDisk, "list", meanwhile)
    assert [dump.dump for dump in listed(rig)] == ["hostd-zdump.001"]
