"""The search for keys of a VM that has several: each is judged by itself."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from protocol.errors import EncryptionKeyRequired, NotAvailable
from protocol.messages.host.crypto import GetCryptoKeyStatus, RemoveKeys
from protocol.messages.host.session import ProviderRef
from protocol.messages.host.vms import HostCreateVm, HostPowerOnVm, ReconfigureVm
from protocol.terms import CryptoKeyId, KeyId, ManagementType, ProviderId
from services.esxi.configuration.sections import StoredKey, StoredKeys
from services.esxi.vms.file_formats import VmConfig, vmx_file
from services.esxi.vms.files import add_checksum, verify_checksum
from tests.services.esxi.rig import VM, A, Rig, add, key, material

HOME, DISK = key("kek-home"), key("kek-disk")
TRUSTED = ProviderId("trusted")
TYPES = {TRUSTED: ManagementType.TRUST_AUTHORITY}


def with_two_keys(rig: Rig, home: CryptoKeyId, disk: CryptoKeyId) -> None:
    """A powered-off VM on a safe, connected host without its keys; home and disk need another.

    Only the ids are changed: the search ends before anything is unwrapped.
    """
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.command(RemoveKeys(keys=(key("kek-1"),)))
    folder = rig.array.folders[VM]
    config = msgspec.msgpack.decode(
        verify_checksum(bytes(folder[vmx_file(VM)])) or b"", type=VmConfig
    )
    (only,) = config.disks
    assert config.home is not None and only.dek is not None
    config = msgspec.structs.replace(
        config,
        home=msgspec.structs.replace(config.home, key=home),
        disks=(msgspec.structs.replace(only, dek=msgspec.structs.replace(only.dek, key=disk)),),
    )
    folder[vmx_file(VM)] = bytearray(add_checksum(msgspec.msgpack.encode(config)))
    known = {home.provider_id, disk.provider_id}
    host = rig.host()
    host.archive.change(
        providers=tuple(
            ProviderRef(provider_id=provider, management_type=TYPES[provider])
            for provider in sorted(known & set(TYPES))
        )
    )


def present(rig: Rig, wanted: CryptoKeyId) -> bool:
    return rig.console(GetCryptoKeyStatus(keys=(wanted,))).keys[0].present


@pytest.mark.parametrize("order", ["home", "disk"])
def test_vcenter_brings_one_key_whatever_the_other_needs(rig: Rig, order: str) -> None:
    """A key that vCenter cannot give, first or last, does not keep it from giving the other."""
    foreign = CryptoKeyId(KeyId("elsewhere"), TRUSTED)
    home, disk = (foreign, DISK) if order == "home" else (HOME, foreign)
    mine = disk if order == "home" else home
    with_two_keys(rig, home, disk)
    rig.controller.supply[mine] = A
    before = rig.loop.time()
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired)
    assert error.keys == (foreign,)
    assert present(rig, mine)
    assert rig.loop.time() - before < 5  # nobody waits for what nobody brings


def test_all_keys_that_nothing_can_bring_are_named(rig: Rig) -> None:
    home, disk = (CryptoKeyId(KeyId(name), TRUSTED) for name in ("one", "two"))
    with_two_keys(rig, home, disk)
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (home, disk)


@pytest.mark.parametrize("brought", [HOME, DISK])
def test_only_what_is_still_missing_is_named(rig: Rig, brought: CryptoKeyId) -> None:
    with_two_keys(rig, HOME, DISK)
    rig.controller.supply[brought] = A
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired)
    assert error.keys == tuple(k for k in (HOME, DISK) if k != brought)
    assert present(rig, brought)


def test_both_brought_and_the_vm_is_opened(rig: Rig) -> None:
    with_two_keys(rig, key("kek-1"), DISK)
    rig.controller.supply[key("kek-1")] = rig.controller.supply[DISK] = A
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert "wrapped DEK" in str(error)  # beyond the search: DISK is not what wrapped it


def test_a_key_that_the_host_cannot_make_is_told_so(rig: Rig) -> None:
    """KEY-02: keys of a standard provider are vCenter's to make."""
    rig.up()
    rig.make_safe()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    refused = rig.refused_command(ReconfigureVm(vm=VM, provider=ProviderId("kms-provider")))
    assert isinstance(refused, NotAvailable) and "makes keys on this host" in str(refused)


def test_the_wait_goes_on_until_every_key_has_come(rig: Rig) -> None:
    """One of two is brought at the ring, the other a little later."""
    with_two_keys(rig, key("kek-1"), DISK)
    rig.controller.supply[key("kek-1")] = A

    async def both() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(rig.agent.machine(A).runner.ask(HostPowerOnVm(vm=VM), 60))
            await rig.world.sleep(2)
            await rig.controller.command(A, add(DISK))

    with pytest.raises(ExceptionGroup) as caught:
        rig.run(both())
    [error] = caught.value.exceptions
    assert "wrapped DEK" in str(error)  # beyond the search: DISK is not what wrapped it


def test_every_key_that_is_stored_is_loaded(rig: Rig) -> None:
    with_two_keys(rig, key("kek-1"), DISK)
    stored = StoredKeys(StoredKey(k, material(k)) for k in (key("kek-1"), DISK))
    rig.host().archive.change(persistence=True, store=stored)
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert present(rig, key("kek-1")) and present(rig, DISK)
    assert "wrapped DEK" in str(error)  # beyond the search: DISK is not what wrapped it
