"""Key persistence (KP rules) as pure steps on the configuration.

Which keys may be stored at all is decided in ``EsxiHost.storable``.

| event | effect on the store |
|---|---|
| enable (KP-02) | cached keys are written too (``persist_on_enable``) |
| key arrives while enabled | written |
| key leaves the cache | leaves the store (``store_follows_cache``), enabled or not |
| disable, no flag | kept, unused, until enabled again (``disable_keeps_store``) |
| disable --remove-all-stored-keys (KP-03) | emptied |
| the TPM seals the configuration while enabled (CFG-02) | as enable |
| boot while enabled | all entries go into the cache (KP-07) |

Persistence never fetches a key by itself (KP-09), and does not learn that a key was destroyed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NewType

import msgspec

from protocol.messages.host import ProviderRef
from protocol.terms import CryptoKeyId, ProtectionMode
from services.esxi.configuration.sections import Configuration
from services.esxi.configuration.stored_keys import StoredKey, StoredKeys
from services.esxi.providers.capabilities import capability

Storable = NewType("Storable", tuple[StoredKey, ...])
"""Keys that a host's store may hold; only ``EsxiHost.storable`` creates this type."""

UNSEALED_WARNING: Final = (
    "Warning: no TPM seals the configuration of this host. Keys of native key providers are "
    "derived; keys of standard or trusted key providers are not stored."
)
"""What ``keypersistence enable`` prints where a native provider lets it succeed without a TPM
(KP-06); keystead's own text."""


def enable_refusal(
    *,
    tpm_present: bool,
    mode: ProtectionMode,
    providers: Sequence[ProviderRef],
    native_without_tpm: bool,
) -> str | None:
    """Why it cannot be enabled here, or None (KP-01, KP-06; the texts are keystead's own)."""
    if mode is ProtectionMode.TPM:
        return None
    all_without_tpm = bool(providers) and all(
        capability(p.management_type).persists_without_tpm for p in providers
    )
    if all_without_tpm and native_without_tpm:
        return None
    if not tpm_present:
        return "Key persistence requires a TPM 2.0 device: this host has no TPM."
    return (
        "Key persistence requires that the TPM protects the configuration: run "
        "'esxcli system settings encryption set --mode=TPM' first."
    )


def enable_persistence(
    config: Configuration, cached: Storable, *, persist_on_enable: bool
) -> Configuration:
    """Enabled; by the knob with the cached keys. Returns ``config`` itself if it was enabled."""
    if config.persistence:
        return config
    on = msgspec.structs.replace(config, persistence=True)
    return with_keys(on, cached) if persist_on_enable else on


def disable_persistence(
    config: Configuration, *, remove_all: bool, disable_keeps_store: bool
) -> Configuration:
    """Disabled; ``remove_all`` empties the store even if it was disabled before (KP-03)."""
    empty = remove_all or (config.persistence and not disable_keeps_store)
    store = StoredKeys() if empty and len(config.store) else config.store
    if store is config.store and not config.persistence:
        return config
    return msgspec.structs.replace(config, persistence=False, store=store)


def with_keys(config: Configuration, new: Storable) -> Configuration:
    """With these keys stored, if persistence is on. Returns ``config`` itself when that changes
    nothing.

    A key replaces an older one with the same id, in its position.
    """
    return _with_store(config, config.store.adding(new)) if config.persistence else config


def without_keys(config: Configuration, keys: Collection[CryptoKeyId]) -> Configuration:
    """Without these keys in the store; ``config`` itself when none of them was stored."""
    return _with_store(config, config.store.without(keys))


def _with_store(config: Configuration, store: StoredKeys) -> Configuration:
    return config if store is config.store else msgspec.structs.replace(config, store=store)


def usable_keys(config: Configuration) -> StoredKeys:
    """The entries that a host may use: none while persistence is disabled."""
    return config.store if config.persistence else StoredKeys()
