"""Key persistence as pure steps: what each event does to the store."""

from __future__ import annotations

import pytest

from protocol.messages.host.session import ProviderRef
from protocol.secret import KeyMaterial
from protocol.terms import ManagementType, ProtectionMode, ProviderId
from services.esxi.configuration.sections import Configuration, StoredKey, StoredKeys
from services.esxi.keys import key_cache
from tests.services.esxi.rig import key

ONE = StoredKey(key("one"), KeyMaterial(b"1" * 32))
TWO = StoredKey(key("two"), KeyMaterial(b"2" * 32))
ON = Configuration(persistence=True, store=StoredKeys((ONE,)))
OFF = Configuration()


def storable(*entries: StoredKey) -> key_cache.Storable:
    return key_cache.Storable(entries)


def test_enable_stores_the_cache_by_the_knob() -> None:
    assert key_cache.enable_persistence(
        OFF, storable(ONE, TWO), persist_on_enable=True
    ).store == StoredKeys((ONE, TWO))
    bare = key_cache.enable_persistence(OFF, storable(ONE, TWO), persist_on_enable=False)
    assert (bare.persistence, bare.store) == (True, StoredKeys())


def test_enabling_twice_and_disabling_when_off_change_nothing() -> None:
    assert key_cache.enable_persistence(ON, storable(TWO), persist_on_enable=True) is ON
    assert key_cache.disable_persistence(OFF, remove_all=False, disable_keeps_store=True) is OFF
    assert key_cache.disable_persistence(OFF, remove_all=True, disable_keeps_store=True) is OFF


def test_disable_keeps_the_store_unused_unless_told_otherwise() -> None:
    kept = key_cache.disable_persistence(ON, remove_all=False, disable_keeps_store=True)
    assert (kept.persistence, kept.store) == (False, StoredKeys((ONE,)))
    assert key_cache.usable_keys(kept) == StoredKeys()
    assert key_cache.enable_persistence(
        kept, storable(), persist_on_enable=True
    ).store == StoredKeys((ONE,))
    assert (
        key_cache.disable_persistence(kept, remove_all=True, disable_keeps_store=True).store
        == StoredKeys()
    )
    assert (
        key_cache.disable_persistence(ON, remove_all=True, disable_keeps_store=True).store
        == StoredKeys()
    )
    assert (
        key_cache.disable_persistence(ON, remove_all=False, disable_keeps_store=False).store
        == StoredKeys()
    )


def test_new_keys_are_stored_only_while_enabled() -> None:
    assert key_cache.with_keys(ON, storable(TWO)).store == StoredKeys((ONE, TWO))
    assert key_cache.with_keys(OFF, storable(TWO)) is OFF
    assert key_cache.with_keys(ON, storable(ONE)) is ON


def test_another_key_under_a_stored_id_replaces_it() -> None:
    newer = StoredKey(ONE.key, KeyMaterial(b"3" * 32))
    assert key_cache.with_keys(ON, storable(newer)).store == StoredKeys((newer,))


def test_removed_keys_leave_the_store_enabled_or_not() -> None:
    assert key_cache.without_keys(ON, (ONE.key,)).store == StoredKeys()
    assert key_cache.without_keys(ON, (TWO.key,)) is ON
    kept = key_cache.disable_persistence(ON, remove_all=False, disable_keeps_store=True)
    assert key_cache.without_keys(kept, (ONE.key,)).store == StoredKeys()


def provider(kind: ManagementType) -> ProviderRef:
    return ProviderRef(provider_id=ProviderId(kind.value), management_type=kind)


NATIVE, STANDARD = provider(ManagementType.NATIVE_PROVIDER), provider(ManagementType.VCENTER)


@pytest.mark.parametrize(
    ("tpm_present", "mode", "providers", "knob", "names"),
    [
        (True, ProtectionMode.TPM, (STANDARD,), True, None),
        (True, ProtectionMode.NONE, (STANDARD,), True, "--mode=TPM"),
        (False, ProtectionMode.NONE, (STANDARD,), True, "no TPM"),
        (False, ProtectionMode.NONE, (), True, "no TPM"),
        (False, ProtectionMode.NONE, (NATIVE,), True, None),
        (False, ProtectionMode.NONE, (NATIVE,), False, "no TPM"),
        (False, ProtectionMode.NONE, (NATIVE, STANDARD), True, "no TPM"),
    ],
)
def test_where_it_can_be_enabled(
    tpm_present: bool,
    mode: ProtectionMode,
    providers: tuple[ProviderRef, ...],
    knob: bool,
    names: str | None,
) -> None:
    refusal = key_cache.enable_refusal(
        tpm_present=tpm_present, mode=mode, providers=providers, native_without_tpm=knob
    )
    assert (refusal is None) if names is None else (refusal is not None and names in refusal)
