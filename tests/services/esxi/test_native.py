"""A host with a native provider: it derives its keys and asks nobody (NKP-10 to NKP-18)."""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from protocol.crypto.derive import check_value, derive_kek
from protocol.errors import (
    EncryptionKeyRequired,
    InvalidArgument,
    InvalidState,
    NotAvailable,
    SaveFailed,
)
from protocol.messages.agent import TpmBackend
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import (
    AddKeys,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    DecryptDump,
    EvictKeys,
    GetCryptoKeyStatus,
    ListDumps,
    RemoveKeys,
    RemoveProvider,
    SetProviders,
    WriteDump,
)
from protocol.messages.host.session import ProviderRef
from protocol.messages.host.vms import (
    GuestWrite,
    HostCreateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    ReconfigureVm,
)
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    ManagementType,
    PowerState,
    ProviderId,
    VmCryptoState,
)
from tests.services.esxi.rig import MARKER, VM, Rig

NKP = ProviderId("nkp")
KDK, OTHER = KeyMaterial(b"k" * 32), KeyMaterial(b"o" * 32)
HOST_KEY = CryptoKeyId(KeyId("host-key-1"), NKP)


def ref(revision: str = "1", *, tpm_required: bool = False) -> ProviderRef:
    return ProviderRef(
        provider_id=NKP,
        management_type=ManagementType.NATIVE_PROVIDER,
        key_id="kdk-1",
        revision=revision,
        tpm_required=tpm_required,
    )


def push(kdk: KeyMaterial | None = KDK, revision: str = "1", **more: bool) -> SetProviders:
    provider = ref(revision, **more)
    if kdk is None:
        return SetProviders(providers=(provider,))
    return SetProviders(providers=(provider,), kdks=(NKP,), material=Sealed.of(kdk))


def enable(kdk: KeyMaterial = KDK) -> CryptoManagerHostEnable:
    return CryptoManagerHostEnable(
        key=HOST_KEY, check=check_value(derive_kek(kdk, HOST_KEY.key_id))
    )


def ready(rig: Rig, **host: Any) -> None:
    """A safe host that has the provider."""
    rig.up(**host)
    rig.command(push())
    rig.command(CryptoManagerHostPrepare())
    rig.command(enable())


def encrypted(rig: Rig) -> CryptoKeyId:
    """A VM under a key that the host has made, its disk written from a marker; powered off."""
    made = rig.command(HostCreateVm(vm=VM, blocks=8, provider=NKP)).summary
    (key,) = made.keys
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestWrite(vm=VM, marker=MARKER))
    rig.command(HostPowerOffVm(vm=VM))
    return key


def status(rig: Rig, key: CryptoKeyId) -> tuple[bool, bool]:
    (found,) = rig.console(GetCryptoKeyStatus(keys=(key,))).keys
    return found.present, found.stored


def test_a_host_makes_a_key_under_a_providers_name_and_derives_it_after_every_boot(
    rig: Rig,
) -> None:
    ready(rig)
    key = encrypted(rig)
    rig.command(HostPowerOnVm(vm=VM))
    for way in ("stop", "power_loss"):
        rig.reboot(way=way)
        summary = rig.summary()
        assert summary.crypto_state is HostCryptoState.SAFE
        assert summary.session == "", "nobody was there"
        rig.sleep(60)
        assert rig.vm().power is PowerState.ON and rig.works()
        assert status(rig, key) == (True, False)


def test_an_id_is_one_key_under_one_kdk(rig: Rig) -> None:
    key = KeyId("0a5e")
    assert derive_kek(KDK, key) == derive_kek(KDK, key)
    assert derive_kek(KDK, key) != derive_kek(OTHER, key)
    assert derive_kek(KDK, key) != derive_kek(KDK, KeyId("0a5f"))
    ikm, info = b"k" * 32, b"keystead native KEK|0a5e"
    prk = hmac.digest(bytes(32), ikm, "sha256")  # RFC 5869, extract
    assert derive_kek(KDK, key).reveal() == hmac.digest(prk, info + b"\x01", "sha256")  # expand


def test_reconfigure_makes_a_key_once(rig: Rig) -> None:
    ready(rig)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    first = rig.command(ReconfigureVm(vm=VM, provider=NKP)).summary
    assert [key.provider_id for key in first.keys] == [NKP]
    assert rig.command(ReconfigureVm(vm=VM, provider=NKP)).summary.keys == first.keys
    other = CryptoKeyId(KeyId("another"), NKP)
    assert isinstance(rig.refused_command(ReconfigureVm(vm=VM, key=other)), InvalidState)


def test_without_a_tpm_the_kdk_lies_under_the_key_on_disk(rig: Rig) -> None:
    ready(rig, tpm=TpmBackend.NONE)
    encrypted(rig)
    rig.command(HostPowerOnVm(vm=VM))
    rig.reboot(way="power_loss")
    rig.sleep(60)
    assert rig.vm().power is PowerState.ON and rig.works()


def test_tpm_required_excludes_a_host_without_one(rig: Rig) -> None:
    """NKP-12: no KDK, refused, and not as if a key were missing."""
    rig.up(tpm=TpmBackend.NONE)
    rig.command(push(tpm_required=True))
    assert rig.host().kdk(NKP) is None
    refused = rig.refused_command(HostCreateVm(vm=VM, blocks=8, provider=NKP))
    assert isinstance(refused, InvalidState) and "TPM 2.0" in str(refused)
    assert rig.kinds("native.tpm_required")
    assert rig.summary().vms == ()


def test_a_vm_on_an_excluded_host_is_not_locked(rig: Rig) -> None:
    """NKP-12: no key could come there, so nobody looks for one; it does not start all the same."""
    ready(rig, tpm=TpmBackend.NONE)
    encrypted(rig)
    rig.command(push(revision="2", tpm_required=True))
    rig.command(EvictKeys(provider=NKP))
    assert (rig.vm().missing, rig.vm().crypto) == ((), VmCryptoState.UNLOCKED)
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, InvalidState) and "TPM 2.0" in str(refused)


def test_a_derived_key_that_was_evicted_and_is_brought_again_is_stored(rig: Rig) -> None:
    """KP-05 is about what this host derives; after the eviction it derived none of this id."""
    ready(rig)
    rig.esxcli("system security keypersistence enable")
    key = encrypted(rig)
    bring = AddKeys(keys=(key,), material=Sealed.of(derive_kek(KDK, key.key_id)))
    rig.command(bring)
    assert status(rig, key) == (True, False)
    rig.command(SetProviders(providers=()))
    assert rig.command(EvictKeys(provider=NKP)).stored == 0
    assert status(rig, key) == (False, False)
    rig.command(bring)
    assert status(rig, key) == (True, True)


@pytest.mark.parametrize("given", [True, False], ids=["given", "taken"])
def test_what_the_disk_refuses_is_not_in_the_view(rig: Rig, given: bool) -> None:
    """vCenter brings what the view lacks: a list that is nowhere but in memory would be lost."""
    rig.up()
    if not given:
        rig.command(push())
    before = rig.summary()
    assert before.kdks == (() if given else (NKP,))
    rig.store().fail = True
    change = push() if given else SetProviders(providers=())
    assert isinstance(rig.refused_command(change), SaveFailed)
    if not given:
        assert isinstance(rig.refused_door(RemoveProvider(provider=NKP)), SaveFailed)
    assert (rig.summary().providers, rig.summary().kdks) == (before.providers, before.kdks)
    rig.store().fail = False
    rig.command(change)
    rig.reboot(way="power_loss")
    assert rig.summary().kdks == ((NKP,) if given else ())


def test_the_kdk_survives_a_power_loss_right_after_it_was_acknowledged(rig: Rig) -> None:
    rig.up()
    rig.command(push())
    rig.reboot(way="power_loss")
    assert rig.host().kdk(NKP) == KDK and rig.summary().providers == (ref(),)


def test_a_list_without_values_keeps_the_kdk_of_its_revision(rig: Rig) -> None:
    rig.up()
    rig.command(push())
    rig.command(push(None))
    assert rig.host().kdk(NKP) == KDK
    rig.command(push(None, "2"))
    assert rig.host().kdk(NKP) is None
    assert rig.summary().providers == (ref("2"),)


def test_a_provider_that_leaves_the_list_takes_its_kdk_along_and_cached_keys_stay(rig: Rig) -> None:
    ready(rig)
    key = encrypted(rig)
    rig.command(HostPowerOnVm(vm=VM))
    rig.command(SetProviders(providers=()))
    assert rig.host().kdk(NKP) is None
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))  # by the cached key: in the grace
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(EvictKeys(provider=NKP))
    error = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (key,)
    assert rig.vm().missing == (key,)
    rig.reboot()
    assert rig.summary().crypto_state is HostCryptoState.PREPARED


def test_another_kdk_under_the_name_is_noticed_by_host_key_and_vm(rig: Rig) -> None:
    """NKP-18: cached keys hide it; then the VM is locked until the right KDK is back."""
    ready(rig)
    key = encrypted(rig)
    rig.command(HostPowerOnVm(vm=VM))
    rig.command(push(OTHER, "2"))
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    rig.command(HostPowerOffVm(vm=VM))
    rig.reboot()
    rig.connect()
    assert rig.summary().crypto_state is HostCryptoState.PREPARED
    assert isinstance(rig.refused_command(enable()), InvalidState)
    error = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (key,)
    assert status(rig, key) == (False, False) and rig.vm().missing == (key,)
    rig.command(push(KDK, "3"))
    assert rig.vm().missing == ()
    rig.command(enable())
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_derived_keys_are_not_persisted(rig: Rig) -> None:
    """The store is another place: the letters are the same with persistence on."""
    ready(rig)
    encrypted(rig)
    rig.command(HostPowerOnVm(vm=VM))
    rig.esxcli("system security keypersistence enable")
    assert rig.summary().key_persistence and rig.summary().stored_keys == 0
    rig.command(SetProviders(providers=()))
    rig.esxcli("system security keypersistence disable")
    rig.esxcli("system security keypersistence enable")
    assert rig.summary().stored_keys == 0
    rig.reboot()
    assert rig.summary().crypto_state is HostCryptoState.PREPARED


def test_a_host_without_the_kdk_rings_and_goes_on_when_it_comes(rig: Rig) -> None:
    ready(rig)
    key = encrypted(rig)
    rig.console(RemoveProvider(provider=NKP))
    rig.command(RemoveKeys(keys=(key,)))
    assert rig.summary().providers == ()
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired)
    assert rig.controller.rung
    rig.command(push())
    rig.console(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_a_key_that_is_withheld_is_missing_until_the_next_boot(rig: Rig) -> None:
    ready(rig)
    key = encrypted(rig)
    rig.command(RemoveKeys(keys=(key,)))
    rig.console(HostPowerOnVm(vm=VM))  # it is derived again
    rig.console(HostPowerOffVm(vm=VM))
    rig.command(RemoveKeys(keys=(key,), withhold=True))
    error = rig.refused_door(HostPowerOnVm(vm=VM))
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (key,)
    assert rig.vm().missing == (key,)
    rig.command(push(revision="2"))  # the same KDK: no other key comes of it
    assert rig.vm().missing == (key,)
    rig.reboot()
    rig.console(HostPowerOnVm(vm=VM))
    assert rig.works()


def test_a_dump_under_a_derived_key_is_read_by_who_can_derive_it(rig: Rig) -> None:
    """DUMP-02: nobody has to bring such a key back, and without its KDK the dump is closed."""
    ready(rig)
    encrypted(rig)
    rig.command(HostPowerOnVm(vm=VM))
    dump = rig.console(WriteDump(dump="vmx", marker=MARKER, vm=VM)).dump
    rig.command(HostPowerOffVm(vm=VM))
    rig.reboot()
    assert dump.key is not None and status(rig, dump.key) == (False, False)
    assert [found.readable for found in rig.console(ListDumps()).dumps] == [True]
    assert rig.console(DecryptDump(dump="vmx")).content.endswith(MARKER)
    rig.connect()
    rig.command(push(OTHER, "2"))
    refused = rig.refused_door(DecryptDump(dump="vmx"))
    assert isinstance(refused, InvalidState) and "another one" in str(refused)
    rig.command(SetProviders(providers=()))
    assert isinstance(rig.refused_door(DecryptDump(dump="vmx")), EncryptionKeyRequired)


def test_a_dump_under_a_host_key_of_another_kdk_names_the_key(rig: Rig) -> None:
    """NKP-18: the host key has a check value, so that this is no damage."""
    ready(rig)
    rig.console(WriteDump(dump="hostd", marker=MARKER))
    rig.command(push(OTHER, "2"))
    rig.reboot()
    refused = rig.refused_door(DecryptDump(dump="hostd"))
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (HOST_KEY,)
    assert [found.readable for found in rig.console(ListDumps()).dumps] == [False]
    rig.connect()
    rig.command(push(KDK, "3"))
    assert rig.console(DecryptDump(dump="hostd")).content.endswith(MARKER)


@pytest.mark.parametrize(
    "kdks", [(), (NKP, NKP), (ProviderId("none"),)], ids=["none", "two", "foreign"]
)
def test_kdks_and_names_correspond(rig: Rig, kdks: tuple[ProviderId, ...]) -> None:
    rig.up()
    message = SetProviders(providers=(ref(),), kdks=kdks, material=Sealed.of(KDK))
    if kdks == (ProviderId("none"),):  # not of the list: nothing is kept of it
        rig.command(message)
        assert rig.host().archive.now.kdks == ()
    else:
        assert isinstance(rig.refused_command(message), InvalidArgument)


def test_who_makes_no_keys_says_so(rig: Rig) -> None:
    rig.up()
    refused = rig.refused_command(HostCreateVm(vm=VM, blocks=8, provider=ProviderId("kms")))
    assert isinstance(refused, NotAvailable)


def test_no_kdk_lies_on_the_disk_in_clear(rig: Rig) -> None:
    ready(rig)
    encrypted(rig)
    whole = b"".join(data for _, data in rig.store().images())
    assert whole and KDK.reveal() not in whole
