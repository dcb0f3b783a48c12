"""Other keys for a VM: wrapped anew while it runs, data rewritten while it is off, or none."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import msgspec
import pytest

from protocol.errors import (
    CryptographicFailure,
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidPowerState,
    InvalidState,
)
from protocol.guest import guest_seed
from protocol.messages.host.crypto import EvictKeys, RemoveKeys
from protocol.messages.host.vms import HostDecryptVm, HostPowerOffVm, HostPowerOnVm, HostRecryptVm
from protocol.terms import CryptoKeyId, PowerState, ProviderId
from services.esxi.vms.file_formats import VmConfig, open_vm, vmx_file
from services.esxi.vms.files import verify_checksum
from tests.services.esxi.rig import MARKER, PROVIDER, VM, Rig, key, material
from tests.services.esxi.test_crash_points import WAYS, sweep

OLD, NEW = key("kek-1"), key("kek-2")
SHALLOW = HostRecryptVm(vm=VM, old=(OLD,), key=NEW, provider=PROVIDER)
DEEP = msgspec.structs.replace(SHALLOW, deep=True)


def ready(rig: Rig, *, on: bool = True) -> Rig:
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=on)
    rig.add_keys(NEW)
    return rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.generations = {}
    yield made
    made.close()


def files(rig: Rig) -> dict[str, bytes]:
    return {name: bytes(data) for name, data in rig.array.folders[VM].items()}


def config(rig: Rig) -> VmConfig:
    body = verify_checksum(files(rig)[vmx_file(VM)])
    assert body is not None
    return msgspec.msgpack.decode(body, type=VmConfig)


def opens_under(rig: Rig, kek: CryptoKeyId) -> bool:
    """Whether its DEKs unwrap with the value of ``kek``, whatever they say they are under."""
    now = config(rig)
    try:
        open_vm(now, {name: material(kek) for name in now.keys})
    except CryptographicFailure:
        return False
    return True


def test_a_running_vm_is_put_under_another_key_and_goes_on(rig: Rig) -> None:
    """REK-01: no data is touched, the old KEK opens nothing any more, and it starts again."""
    ready(rig)
    before = files(rig)
    assert opens_under(rig, OLD)
    assert rig.command(SHALLOW).summary.keys == (NEW,)
    after = files(rig)
    assert config(rig).keys == (NEW,) and opens_under(rig, NEW) and not opens_under(rig, OLD)
    assert after["disk-2.vmdk"] == before["disk-2.vmdk"]
    assert rig.works()
    rig.command(RemoveKeys(keys=(OLD,)))
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_a_repeat_is_no_change(rig: Rig) -> None:
    ready(rig)
    rig.command(SHALLOW)
    rig.command(RemoveKeys(keys=(OLD,)))
    before = files(rig)[vmx_file(VM)]
    assert rig.command(SHALLOW).summary.keys == (NEW,)
    assert files(rig)[vmx_file(VM)] == before
    assert len(rig.kinds("vm.recrypted")) == 1


def test_a_deep_recrypt_rewrites_the_data(rig: Rig) -> None:
    """REK-02: another DEK, another file, and the old file is empty."""
    ready(rig, on=False)
    old_disk = files(rig)["disk-2.vmdk"]
    old = open_vm(config(rig), {OLD: material(OLD)})
    assert rig.command(DEEP).summary.keys == (NEW,)
    found = files(rig)
    assert found["disk-2.vmdk"] == b"" and found["disk-3.vmdk"] != old_disk
    new = open_vm(config(rig), {NEW: material(NEW)})
    assert new.deks[0] is not None and old.deks[0] is not None
    assert new.deks[0].reveal() != old.deks[0].reveal() and new.seed == old.seed
    assert rig.command(HostPowerOnVm(vm=VM)).summary.power is PowerState.ON
    assert rig.works()


def test_a_deep_one_needs_the_vm_powered_off(rig: Rig) -> None:
    ready(rig)
    assert isinstance(rig.refused_command(DEEP), InvalidPowerState)
    assert isinstance(rig.refused_command(HostDecryptVm(vm=VM)), InvalidPowerState)
    assert rig.works()


def test_decrypting_leaves_clear_data_and_no_key(rig: Rig) -> None:
    ready(rig, on=False)
    summary = rig.command(HostDecryptVm(vm=VM)).summary
    assert (summary.keys, summary.crypto) == ((), None)
    assert guest_seed(MARKER) in files(rig)["disk-3.vmdk"] and files(rig)["disk-2.vmdk"] == b""
    assert rig.command(HostDecryptVm(vm=VM)).summary.keys == (), "again is no change"
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()
    refused = rig.refused_command(SHALLOW)
    assert isinstance(refused, InvalidState) and "not encrypted" in str(refused)


@pytest.mark.parametrize("command", [SHALLOW, DEEP, HostDecryptVm(vm=VM)])
def test_without_the_old_key_nothing_changes(
    rig: Rig, command: HostRecryptVm | HostDecryptVm
) -> None:
    """REK-05: the DEK of a locked VM cannot be unwrapped."""
    ready(rig, on=False)
    before = files(rig)
    rig.command(RemoveKeys(keys=(OLD,)))
    refused = rig.refused_command(command)
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (OLD,)
    assert files(rig) == before


def test_without_the_new_key_nothing_changes(rig: Rig) -> None:
    ready(rig)
    before = files(rig)
    rig.command(RemoveKeys(keys=(NEW,)))
    refused = rig.refused_command(SHALLOW)
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (NEW,)
    assert files(rig) == before and rig.works()


def test_a_command_about_keys_that_it_had_before_is_refused(rig: Rig) -> None:
    """A late one, of a task that another task has overtaken."""
    ready(rig)
    rig.command(SHALLOW)
    rig.add_keys(key("kek-3"))
    late = HostRecryptVm(vm=VM, old=(OLD,), key=key("kek-3"), provider=PROVIDER)
    assert isinstance(rig.refused_command(late), InvalidState)
    assert config(rig).keys == (NEW,) and rig.works()


def test_no_room_for_a_second_disk_leaves_the_first_one_in_force(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """REK-04: and nothing of the second one stays."""
    ready(rig, on=False)
    before = files(rig)
    with monkeypatch.context() as full:
        write = type(rig.host().datastore).write

        async def refusing(self: object, vm: str, file: str, data: bytes) -> None:
            if file == "disk-3.vmdk" and data:
                await write(self, vm, file, data[: len(data) // 2])  # type: ignore[arg-type]
                raise OSError(errno.ENOSPC, "No space left on device")
            await write(self, vm, file, data)  # type: ignore[arg-type]

        full.setattr(type(rig.host().datastore), "write", refusing)
        refused = rig.refused_command(DEEP)
        assert isinstance(refused, DatastoreFault) and "No space" in str(refused)
    after = files(rig)
    assert after.pop("disk-3.vmdk") == b"" and after == before
    rig.command(DEEP)
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_a_key_of_another_provider_outlives_the_first_one(rig: Rig) -> None:
    """REK-01: this is how a VM changes its provider."""
    ready(rig)
    other = CryptoKeyId(NEW.key_id, ProviderId("second"))
    rig.add_keys(other)
    rig.command(HostRecryptVm(vm=VM, old=(OLD,), key=other, provider=ProviderId("second")))
    rig.command(EvictKeys(provider=PROVIDER))
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def _running(rig: Rig) -> None:
    rig.generations = {}
    ready(rig)
    rig.esxcli("system security keypersistence enable")


def _off(rig: Rig) -> None:
    _running(rig)
    rig.command(HostPowerOffVm(vm=VM))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("deep", [False, True])
def test_a_crash_leaves_the_old_keys_or_the_new_ones(way: str, deep: bool) -> None:
    """At each call of its storage; and a repeat ends it, with nothing left of the other disk."""
    seen = set()
    command = DEEP if deep else SHALLOW
    for rig in sweep(way, _off if deep else _running, lambda rig: rig.command(command)):
        rig.sleep(30)
        keys = rig.vm().keys
        seen.add(keys)
        assert keys in ((OLD,), (NEW,)) and opens_under(rig, keys[0])
        assert len([data for name, data in files(rig).items() if "disk" in name and data]) == 1
        rig.command(HostPowerOnVm(vm=VM))
        assert rig.works()
        rig.command(HostPowerOffVm(vm=VM))
        rig.command(command)
        rig.command(HostPowerOnVm(vm=VM))
        assert rig.works() and opens_under(rig, NEW) and not opens_under(rig, OLD)
    assert seen == ({(OLD,), (NEW,)} if deep else {(OLD,)}), (
        "shallow: the one write is the last call"
    )


@pytest.mark.parametrize("way", WAYS)
def test_a_crash_leaves_a_vm_decrypted_or_not(way: str) -> None:
    seen = set()
    for rig in sweep(way, _off, lambda rig: rig.command(HostDecryptVm(vm=VM))):
        rig.sleep(30)
        seen.add(rig.vm().keys)
        assert len([data for name, data in files(rig).items() if "disk" in name and data]) == 1
        rig.command(HostPowerOnVm(vm=VM))
        assert rig.works()
    assert seen == {(OLD,), ()}
