"""Disks that come and go: each with a key of its own or its VM's, at every crash whole or not."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec
import pytest

from protocol.errors import (
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    ResourceInUse,
)
from protocol.guest import BLOCK_SIZE, challenge_digest, guest_block, guest_seed
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.session import VirtualDisk
from protocol.messages.host.vms import (
    DISKS_LIMIT,
    GuestChallenge,
    HostAddDisk,
    HostCreateVm,
    HostDecryptVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRecryptVm,
    HostRemoveDisk,
)
from protocol.terms import PowerState, VmConnectionState, VmCryptoState
from services.esxi.vms.file_formats import VmConfig, open_vm, vmx_file
from services.esxi.vms.files import verify_checksum
from services.esxi.vms.guest import SPAN
from tests.services.esxi.rig import PROVIDER, VM, Rig, key, material
from tests.services.esxi.test_crash_points import WAYS, sweep

HOME, OWN, NEW = key("kek-1"), key("kek-2"), key("kek-3")
ADD = HostAddDisk(vm=VM, operation_id="op-1", blocks=6)
ADD_OWN = msgspec.structs.replace(ADD, key=OWN)
SECOND = HostRemoveDisk(vm=VM, disk=2)


def ready(rig: Rig) -> Rig:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.add_keys(OWN, NEW)
    return rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.generations = {}
    yield made
    made.close()


def files(rig: Rig) -> dict[str, bytes]:
    return {name: bytes(data) for name, data in rig.array.folders[VM].items()}


def images(rig: Rig) -> dict[str, bytes]:
    return {name: data for name, data in files(rig).items() if name.startswith("disk-") and data}


def config(rig: Rig) -> VmConfig:
    body = verify_checksum(files(rig)[vmx_file(VM)])
    assert body is not None
    return msgspec.msgpack.decode(body, type=VmConfig)


def on(rig: Rig) -> None:
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def second_works(rig: Rig, seed: bytes) -> None:
    """The guest answers for block 3 of "Hard disk 2" as it was first written."""
    at = SPAN + 3
    answer = rig.console(GuestChallenge(vm=VM, nonce=b"n", blocks=(at,)))
    assert answer.digest == challenge_digest(b"n", [guest_block(guest_seed(seed), at, 0)])
    assert (answer.rewritten, answer.generation) == (at, 1)


def seed_of(rig: Rig) -> bytes:
    now = config(rig)
    return open_vm(now, {each: material(each) for each in now.keys}).seed


def test_a_second_disk_is_under_the_key_of_the_home(rig: Rig) -> None:
    ready(rig)
    added = rig.command(ADD)
    assert added.disks[1] == VirtualDisk(disk=2, blocks=6, key=HOME)
    assert added.summary.keys == (HOME,) and added.summary.disks == added.disks
    data = files(rig)[config(rig).disk(2).file]
    assert len(data) == 7 * BLOCK_SIZE and guest_seed(seed_of(rig)) not in data
    on(rig)
    second_works(rig, seed_of(rig))


def test_a_disk_has_a_key_of_its_own(rig: Rig) -> None:
    """KEY-04: the VM needs both, and its DEKs are two."""
    ready(rig)
    assert rig.command(ADD_OWN).summary.keys == (HOME, OWN)
    first, second = open_vm(config(rig), {HOME: material(HOME), OWN: material(OWN)}).deks
    assert first is not None and second is not None and first.reveal() != second.reveal()
    on(rig)
    second_works(rig, seed_of(rig))


def test_a_disk_of_a_vm_in_clear_is_in_clear_and_has_no_key(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.add_keys(OWN)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    refused = rig.refused_command(ADD_OWN)
    assert isinstance(refused, InvalidState) and "not encrypted" in str(refused)
    assert rig.command(ADD).disks[1].key is None
    rig.command(HostPowerOnVm(vm=VM))
    second_works(rig, config(rig).nvram)


def test_a_repeat_makes_no_third_disk(rig: Rig) -> None:
    ready(rig)
    before = rig.command(ADD).disks
    assert rig.command(ADD).disks == before
    assert len(rig.kinds("vm.disk_added")) == 1
    other = msgspec.structs.replace(ADD, operation_id="op-2")
    assert [disk.disk for disk in rig.command(other).disks] == [1, 2, 3]


def test_its_disks_are_changed_while_it_is_off(rig: Rig) -> None:
    ready(rig)
    on(rig)
    assert isinstance(rig.refused_command(ADD), InvalidPowerState)
    assert isinstance(rig.refused_command(SECOND), InvalidPowerState)


def test_sizes_and_numbers_have_bounds(rig: Rig) -> None:
    ready(rig)
    refused = rig.refused_command(msgspec.structs.replace(ADD, blocks=0))
    assert isinstance(refused, InvalidArgument)
    for number in range(1, DISKS_LIMIT):
        rig.command(HostAddDisk(vm=VM, operation_id=f"op-{number}", blocks=1))
    refused = rig.refused_command(HostAddDisk(vm=VM, operation_id="more", blocks=1))
    assert isinstance(refused, ResourceInUse)
    on(rig)


def test_a_reference_without_a_key_id_is_an_invalid_argument(rig: Rig) -> None:
    """SC-39: no key that could be fetched is missing, so the refusal names none."""
    ready(rig)
    before = files(rig)
    refused = rig.refused_command(msgspec.structs.replace(ADD, key=key("")))
    assert isinstance(refused, InvalidArgument) and "has no key id" in str(refused)
    assert files(rig) == before


def test_without_the_key_of_a_disk_the_vm_is_valid_and_does_not_start(rig: Rig) -> None:
    """LOCK-03: the refusal names disk and path; taking the disk away lets the VM start."""
    ready(rig)
    rig.command(ADD_OWN)
    file = config(rig).disk(2).file
    rig.command(RemoveKeys(keys=(OWN,)))
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (OWN,)
    assert f"Hard disk 2, [datastore-1] {VM}/{file}, is encrypted" in str(refused)
    vm = rig.vm()
    assert (vm.crypto, vm.connection) == (VmCryptoState.LOCKED, VmConnectionState.CONNECTED)
    assert vm.missing == (OWN,)
    left = rig.command(SECOND)
    assert left.disks == (VirtualDisk(disk=1, blocks=8, key=HOME),)
    assert left.summary.crypto is VmCryptoState.UNLOCKED and files(rig)[file] == b""
    on(rig)


def test_without_the_key_of_the_home_nothing_but_removal_is_left(rig: Rig) -> None:
    """LOCK-02: invalid, and its disks are not changed either."""
    ready(rig)
    rig.command(ADD_OWN)
    before = files(rig)
    rig.command(RemoveKeys(keys=(HOME,)))
    vm = rig.vm()
    assert (vm.connection, vm.missing) == (VmConnectionState.INVALID, (HOME,))
    for command in (SECOND, HostAddDisk(vm=VM, operation_id="op-2")):
        refused = rig.refused_command(command)
        assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (HOME,)
    assert files(rig) == before


def test_the_only_disk_stays(rig: Rig) -> None:
    ready(rig)
    assert isinstance(rig.refused_command(HostRemoveDisk(vm=VM, disk=1)), InvalidState)
    assert rig.command(SECOND).disks[0].disk == 1, "there is no second one: no change"


def test_the_first_of_two_can_go(rig: Rig) -> None:
    ready(rig)
    rig.command(ADD)
    assert [d.disk for d in rig.command(HostRemoveDisk(vm=VM, disk=1)).disks] == [2]
    rig.command(HostPowerOnVm(vm=VM))
    second_works(rig, seed_of(rig))


def test_one_recrypt_gives_a_mixed_vm_one_key(rig: Rig) -> None:
    """KEY-04, REK-01: shallow for both disks; deep rewrites both, decrypting too."""
    ready(rig)
    rig.command(ADD_OWN)
    before = images(rig)
    shallow = HostRecryptVm(vm=VM, old=(HOME, OWN), key=NEW, provider=PROVIDER)
    assert rig.command(shallow).summary.keys == (NEW,)
    assert images(rig) == before
    rig.command(RemoveKeys(keys=(HOME, OWN)))
    on(rig)
    second_works(rig, seed_of(rig))
    rig.command(HostPowerOffVm(vm=VM))
    rig.add_keys(HOME)
    deep = HostRecryptVm(vm=VM, old=(NEW,), key=HOME, provider=PROVIDER, deep=True)
    assert rig.command(deep).summary.keys == (HOME,)
    assert len(images(rig)) == 2 and not images(rig).keys() & before.keys()
    on(rig)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostDecryptVm(vm=VM))
    assert config(rig).keys == () and sorted(images(rig)) == sorted(config(rig).files)
    on(rig)
    assert rig.vm().power is PowerState.ON


def test_no_room_leaves_the_vm_as_it_was(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    ready(rig)
    before = images(rig)
    write = type(rig.host().datastore).write

    async def refusing(self: object, vm: str, file: str, data: bytes) -> None:
        if file == "disk-3.vmdk" and data:
            raise OSError(errno.ENOSPC, "No space left on device")
        await write(self, vm, file, data)  # type: ignore[arg-type]

    with monkeypatch.context() as full:
        full.setattr(type(rig.host().datastore), "write", refusing)
        assert isinstance(rig.refused_command(ADD), DatastoreFault)
    assert images(rig) == before and len(config(rig).disks) == 1
    on(rig)


def _off(rig: Rig) -> None:
    rig.generations = {}
    ready(rig)
    rig.esxcli("system security keypersistence enable")


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_crash_leaves_a_disk_whole_or_not_there(way: str) -> None:
    seen = set()
    for rig in sweep(way, _off, lambda rig: rig.command(ADD_OWN)):
        rig.sleep(30)
        seen.add(len(config(rig).disks))
        assert sorted(images(rig)) == sorted(config(rig).files)
        assert len(rig.command(ADD_OWN).disks) == 2, "a repeat ends it, and makes no third"
        on(rig)
    assert 1 in seen


def _two(rig: Rig) -> None:
    _off(rig)
    rig.command(ADD_OWN)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_crash_leaves_a_disk_that_goes_whole_or_gone(way: str) -> None:
    seen = set()
    for rig in sweep(way, _two, lambda rig: rig.command(SECOND)):
        rig.sleep(30)
        seen.add(len(config(rig).disks))
        assert sorted(images(rig)) == sorted(config(rig).files)
        on(rig)
    assert seen == {1, 2}
