"""Keys and encryption mode on command, and key persistence end to end on one host."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidState,
    ResourceInUse,
    TimedOut,
)
from protocol.messages.base import Sealed
from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprint
from protocol.messages.host.crypto import (
    AddKeys,
    ChangeHostKey,
    CryptoManagerHostDisable,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    EvictKeys,
    GetCryptoKeyStatus,
    RemoveKeys,
    SetProviders,
)
from protocol.messages.host.session import ProviderRef
from protocol.messages.host.vms import HostUnregisterVm
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KeyKind,
    ManagementType,
    ProviderId,
    VmCryptoState,
)
from tests.services.esxi.rig import HOST_KEY, PROVIDER, VM, A, Rig, add, key, material

ENABLE = "system security keypersistence enable"
DISABLE = "system security keypersistence disable"


def present(rig: Rig, *names: str) -> list[bool]:
    asked = tuple(key(name) for name in names)
    return [entry.present for entry in rig.console(GetCryptoKeyStatus(keys=asked)).keys]


def stored(rig: Rig, *names: str) -> list[bool]:
    asked = tuple(key(name) for name in names)
    return [entry.stored for entry in rig.console(GetCryptoKeyStatus(keys=asked)).keys]


def test_a_host_takes_no_keys_before_it_is_prepared(rig: Rig) -> None:
    rig.up()
    assert isinstance(rig.refused_command(add(key("a"))), InvalidState)
    rig.command(CryptoManagerHostPrepare())
    assert rig.add_keys(key("a")).results[0].success
    assert rig.summary().crypto_state is HostCryptoState.PREPARED


def test_the_same_key_again_is_no_change_and_another_is_refused(rig: Rig) -> None:
    """KP-17."""
    rig.up()
    rig.make_safe()
    rig.add_keys(key("a"))
    again = rig.add_keys(key("a"), key("b")).results
    assert [(r.success, r.fault) for r in again] == [(True, "AlreadyExists"), (True, "")]
    other = AddKeys(keys=(key("a"),), material=Sealed.of(KeyMaterial(b"x" * 32)))
    refused = rig.command(other).results[0]
    assert (refused.success, refused.fault) == (False, "InvalidArgument")
    assert rig.host().keys.get(key("a")) == material(key("a"))


@pytest.mark.parametrize(
    "message",
    [
        AddKeys(keys=(key("a"), key("b")), material=Sealed.of(KeyMaterial(b"x" * 32))),
        AddKeys(keys=(key("a"),), material=Sealed.of(KeyMaterial(b"short"))),
        CryptoManagerHostEnable(key=HOST_KEY, material=Sealed.of()),
    ],
)
def test_ids_and_keys_that_do_not_fit_are_refused(rig: Rig, message: AddKeys) -> None:
    rig.up()
    rig.make_safe()
    assert isinstance(rig.refused_command(message), InvalidArgument)
    assert present(rig, "a", "b") == [False, False]


def test_other_bytes_under_the_id_of_the_host_key_are_another_key(rig: Rig) -> None:
    """Also when the key cache does not know it any more: the host key in memory does."""
    rig.up()
    rig.make_safe()
    rig.command(RemoveKeys(keys=(HOST_KEY,)))
    other = CryptoManagerHostEnable(key=HOST_KEY, material=Sealed.of(material(key("other"))))
    assert isinstance(rig.refused_command(other), AlreadyExists)
    assert present(rig, HOST_KEY.key_id) == [False]
    rig.make_safe()
    assert present(rig, HOST_KEY.key_id) == [True]


def test_a_host_has_so_many_providers_and_no_more(rig: Rig) -> None:
    rig.up(knobs={"max_key_providers": 2})
    kind = ManagementType.VCENTER
    three = tuple(
        ProviderRef(provider_id=ProviderId(f"p{number}"), management_type=kind)
        for number in range(3)
    )
    two = three[:2]
    rig.command(SetProviders(providers=two))
    assert isinstance(rig.refused_command(SetProviders(providers=three)), InvalidArgument)
    assert rig.summary().providers == two


def test_the_host_key_and_its_changes(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.make_safe()  # the same again: no change
    other = key("other-host-key")
    sealed = Sealed.of(material(other))
    enable = CryptoManagerHostEnable(key=other, material=sealed)
    assert isinstance(rig.refused_command(enable), AlreadyExists)
    rig.esxcli(ENABLE)
    rig.command(ChangeHostKey(key=other, material=sealed))
    assert rig.summary().crypto_key_id == other
    assert present(rig, "host-key", "other-host-key") == [False, True]
    assert stored(rig, "host-key", "other-host-key") == [False, True]
    rig.reboot(way="power_loss")
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    assert rig.host().host_key == material(other)


def test_a_prepared_host_may_get_a_renewed_host_key(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.reboot()
    rig.connect()
    rig.make_safe(host_key=key("renewed"))
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    assert rig.summary().crypto_key_id == key("renewed")


def test_disable_waits_for_a_reboot_and_for_encrypted_vms_to_leave(rig: Rig) -> None:
    """HEM-03."""
    rig.up()
    rig.make_safe()
    rig.encrypted_vm(on=False)
    assert isinstance(rig.refused_command(CryptoManagerHostDisable()), ResourceInUse)
    rig.command(HostUnregisterVm(vm=VM))
    rig.command(CryptoManagerHostDisable())
    assert rig.summary().crypto_state is HostCryptoState.PENDING_INCAPABLE
    assert isinstance(rig.refused_command(add(key("a"))), InvalidState)
    rig.reboot(way="power_loss")
    assert rig.summary().crypto_state is HostCryptoState.INCAPABLE


def test_a_host_whose_mode_was_disabled_has_no_host_key_after_its_reboot(rig: Rig) -> None:
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.command(CryptoManagerHostDisable())
    assert isinstance(rig.refused_command(CryptoManagerHostDisable()), InvalidState)
    rig.reboot()
    assert rig.summary().crypto_key_id is None
    assert (present(rig, "host-key"), stored(rig, "host-key")) == ([False], [False])
    rig.reboot(way="power_loss")
    assert stored(rig, "host-key") == [False]
    assert rig.summary().crypto_state is HostCryptoState.INCAPABLE


def test_an_administrator_may_enable_the_mode_again_before_the_reboot(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.command(CryptoManagerHostDisable())
    sealed = Sealed.of(material(key("new")))
    rig.command(CryptoManagerHostEnable(key=key("new"), material=sealed))
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    rig.add_keys(key("a"))


def test_prepare_is_for_an_incapable_host_only(rig: Rig) -> None:
    rig.up()
    rig.command(CryptoManagerHostPrepare())
    assert isinstance(rig.refused_command(CryptoManagerHostPrepare()), InvalidState)
    rig.make_safe()
    assert isinstance(rig.refused_command(CryptoManagerHostPrepare()), InvalidState)
    assert rig.summary().crypto_state is HostCryptoState.SAFE


def test_enable_with_keys_in_the_cache_stores_them(rig: Rig) -> None:
    """C5: also the host key, so that the host becomes safe by itself."""
    rig.up()
    rig.make_safe()
    rig.add_keys(key("a"), key("b"))
    rig.esxcli(ENABLE)
    assert stored(rig, "a", "b", "host-key") == [True, True, True]
    rig.reboot(way="power_loss")
    assert present(rig, "a", "b", "host-key") == [True, True, True]
    assert rig.summary().crypto_state is HostCryptoState.SAFE


def test_enable_by_the_other_knob_stores_only_what_comes_later(rig: Rig) -> None:
    rig.up(knobs={"persist_on_enable": False})
    rig.make_safe()
    rig.add_keys(key("a"))
    rig.esxcli(ENABLE)
    rig.add_keys(key("b"))
    rig.reboot(way="power_loss")
    assert present(rig, "a", "b", "host-key") == [False, True, False]


def test_a_key_that_was_never_here_is_never_here_after_a_reboot(rig: Rig) -> None:
    """A04, KP-15."""
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.reboot()
    assert present(rig, "never") == [False]


def test_keys_removed_leave_the_store_and_stay_gone(rig: Rig) -> None:
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.add_keys(key("a"), key("b"))
    removed = rig.command(RemoveKeys(keys=(key("a"), HOST_KEY, key("none")))).results
    assert [(r.success, r.fault) for r in removed] == [
        (True, ""),
        (True, ""),
        (False, "InvalidArgument"),
    ]
    assert rig.summary().crypto_state is HostCryptoState.SAFE  # until the next boot
    rig.reboot(way="power_loss")
    assert present(rig, "a", "b", "host-key") == [False, True, False]
    assert rig.summary().crypto_state is HostCryptoState.PREPARED


def test_by_the_other_knob_a_removed_key_stays_stored_and_is_used(rig: Rig) -> None:
    rig.up(knobs={"store_follows_cache": False})
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.encrypted_vm(kek="a", on=False)
    rig.command(RemoveKeys(keys=(key("a"),)))
    assert (present(rig, "a"), stored(rig, "a")) == ([False], [True])
    assert rig.vm().missing == ()
    assert rig.vm().crypto is VmCryptoState.UNLOCKED


def test_disable_with_the_flag_leaves_no_key_anywhere(rig: Rig) -> None:
    """A05: nothing in the archive on disk, and the host is as without persistence."""
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.add_keys(key("a"))
    assert rig.esxcli(f"{DISABLE} --remove-all-stored-keys").exit_code == 0
    assert (rig.summary().stored_keys, present(rig, "a")) == (0, [True])
    rig.reboot(way="power_loss")
    assert present(rig, "a", "host-key") == [False, False]
    assert not len(rig.host().archive.now.store)
    assert rig.summary().crypto_state is HostCryptoState.PREPARED


def test_disable_without_the_flag_keeps_the_store_unused_until_enabled_again(rig: Rig) -> None:
    """C9: without the flag the keys stay and are not used."""
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.add_keys(key("a"))
    rig.esxcli(DISABLE)
    rig.reboot(way="power_loss")
    assert (present(rig, "a"), stored(rig, "a")) == ([False], [True])
    assert rig.summary().crypto_state is HostCryptoState.PREPARED
    rig.esxcli(ENABLE)
    rig.reboot(way="power_loss")
    assert present(rig, "a", "host-key") == [True, True]
    assert rig.summary().crypto_state is HostCryptoState.SAFE


def test_a_thousand_keys_come_in_portions_and_are_all_there(rig: Rig) -> None:
    """KP-18."""
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    names = [f"k-{n:04d}" for n in range(1000)]
    for at in range(0, 1000, 250):
        rig.add_keys(*(key(name) for name in names[at : at + 250]))
    rig.reboot(way="power_loss")
    assert rig.summary().cached_keys == 1001
    assert all(present(rig, *names))


def test_the_provider_list_is_saved(rig: Rig) -> None:
    rig.up()
    mine = ProviderRef(provider_id=PROVIDER, management_type=ManagementType.VCENTER)
    rig.command(SetProviders(providers=(mine,)))
    trusted = ProviderRef(
        provider_id=ProviderId("ta"), management_type=ManagementType.TRUST_AUTHORITY
    )
    rig.command(SetProviders(providers=(mine, trusted)))
    rig.reboot(way="power_loss")
    assert rig.summary().providers == (mine, trusted)


def kinds_stored(rig: Rig) -> dict[str, KeyKind]:
    return {entry.key.key_id: entry.kind for entry in rig.host().archive.now.store}


def test_the_kind_of_a_key_is_kept_with_it_over_a_reboot(rig: Rig) -> None:
    rig.up()
    rig.esxcli(ENABLE)
    rig.make_safe()
    rig.add_keys(key("a"))
    rig.command(msgspec.structs.replace(add(key("v")), kind=KeyKind.VSAN))
    kinds = {"host-key": KeyKind.HOST, "a": KeyKind.VM, "v": KeyKind.VSAN}
    assert kinds_stored(rig) == kinds
    rig.reboot(way="power_loss")
    assert kinds_stored(rig) == kinds
    assert {e.key.key_id: e.kind for e in rig.host().keys.entries()} == kinds


def test_enabling_persistence_stores_what_each_key_is_for(rig: Rig) -> None:
    """Also that of a host key that has left the cache, and is in memory only."""
    rig.up()
    rig.make_safe()
    rig.command(msgspec.structs.replace(add(key("v")), kind=KeyKind.VSAN))
    rig.command(RemoveKeys(keys=(HOST_KEY,)))
    rig.esxcli(ENABLE)
    assert kinds_stored(rig) == {"v": KeyKind.VSAN, "host-key": KeyKind.HOST}


def test_a_key_keeps_its_kind_unless_it_becomes_the_host_key(rig: Rig) -> None:
    """KP-17: the same key again is no change."""
    rig.up()
    rig.esxcli(ENABLE)
    rig.command(CryptoManagerHostPrepare())
    rig.command(msgspec.structs.replace(add(key("v")), kind=KeyKind.VSAN))
    rig.add_keys(key("v"), HOST_KEY)
    assert kinds_stored(rig) == {"v": KeyKind.VSAN, "host-key": KeyKind.VM}
    rig.make_safe()
    rig.add_keys(HOST_KEY)
    assert kinds_stored(rig) == {"v": KeyKind.VSAN, "host-key": KeyKind.HOST}


@pytest.mark.parametrize("enabled", [True, False], ids=["enabled", "kept"])
def test_an_eviction_takes_all_of_a_provider_from_cache_and_store(rig: Rig, enabled: bool) -> None:
    rig.up()
    rig.make_safe()
    rig.esxcli(ENABLE)
    other = CryptoKeyId(KeyId("x"), ProviderId("other"))
    rig.command(AddKeys(keys=(other,), material=Sealed.of(material(other))))
    rig.add_keys(key("a"), key("b"))
    if not enabled:
        rig.esxcli(DISABLE)
    left = rig.command(EvictKeys(provider=PROVIDER))
    assert (left.cached, left.stored) == (3, 3)  # a, b, and the host key
    assert present(rig, "a", "b", "host-key") == stored(rig, "a", "b", "host-key") == [False] * 3
    (entry,) = rig.console(GetCryptoKeyStatus(keys=(other,))).keys
    assert entry.present and entry.stored
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    again = rig.command(EvictKeys(provider=PROVIDER))
    assert (again.cached, again.stored) == (0, 0)
    assert rig.kinds("keys.evicted") == [{"provider": PROVIDER, "cached": 3, "stored": 3}]
    rig.reboot(way="power_loss")
    assert rig.summary().crypto_state is HostCryptoState.PREPARED
    assert stored(rig, "a", "host-key") == [False, False]


def test_by_the_knob_an_eviction_leaves_the_store_alone() -> None:
    rig = Rig()
    rig.up(knobs={"store_follows_cache": False})
    rig.make_safe()
    rig.esxcli(ENABLE)
    rig.add_keys(key("a"))
    left = rig.command(EvictKeys(provider=PROVIDER))
    assert (left.cached, left.stored) == (2, 0)
    assert rig.kinds("keys.evicted") == [{"provider": PROVIDER, "cached": 2, "stored": 0}]
    assert (present(rig, "a"), stored(rig, "a")) == ([False], [True])
    rig.close()


def test_at_its_console_a_host_tells_which_keys_are_the_same_and_not_which(rig: Rig) -> None:
    rig.up()
    rig.make_safe()
    rig.esxcli(ENABLE)
    rig.add_keys(key("a"), key("b"))
    asked = FingerprintKeys(secret=b"one" * 11)
    told = rig.console(asked).keys
    mine = {(k.key_id, k.place): k.fingerprint for k in told if k.key_id in ("a", "b")}
    wanted = {name: material(key(name)).fingerprint(asked.secret) for name in ("a", "b")}
    assert mine == {(n, place): wanted[n] for n in wanted for place in ("cache", "store")}
    other = rig.console(FingerprintKeys(secret=b"two" * 11)).keys
    assert not {k.fingerprint for k in told} & {k.fingerprint for k in other}
    refusal = rig.refusal(rig.controller.bus.request(A, asked, within_s=10))
    assert not isinstance(refusal, TimedOut) and refusal.definite


def test_what_a_host_tells_of_many_keys_comes_in_pages(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever leaves the host between two of them, the others are told."""
    rig.up()
    rig.make_safe()
    rig.esxcli(ENABLE)
    rig.add_keys(*(key(name) for name in "abcde"))
    asked = FingerprintKeys(secret=b"one" * 11)
    whole = rig.console(asked)
    assert len(whole.keys) == 12 and not whole.last
    monkeypatch.setattr("services.esxi.keys.key_status.PAGE", 2)

    def pages(*, leaving: int | None = None) -> list[KeyFingerprint]:
        told, page = list[KeyFingerprint](), asked
        for number in range(30):
            if number == leaving:  # the key that was told last
                rig.command(RemoveKeys(keys=(key(page.after),)))
            answer = rig.console(page)
            assert 0 < len(answer.keys) <= 2
            told += answer.keys
            if not answer.last:
                return told
            page = msgspec.structs.replace(asked, place=answer.place, after=answer.last)
        raise AssertionError(f"there is no end: {told}")

    assert pages() == list(whole.keys)
    for leaving in (1, 4):
        seen = {(one.place, one.key_id) for one in pages(leaving=leaving)}
        stay = {(one.place, one.key_id) for one in rig.console(asked).keys}
        assert stay <= seen
