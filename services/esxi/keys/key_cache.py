"""The keys that a host holds: the key cache, in memory only and gone at reboot (STD-13), and the
persisted store, whose rules (KP) are pure steps on the configuration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from enum import StrEnum
from typing import Final, NewType

import msgspec

from protocol.messages.host.session import ProviderRef
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, ProtectionMode
from services.esxi.configuration.sections import Configuration, StoredKey, StoredKeys
from services.esxi.providers.capabilities import capability


class CacheAddition(StrEnum):
    """The result of adding a key to the cache."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"  # another key is cached under this id; it stays


class KeyCache:
    """Keys by id, in order of arrival."""

    def __init__(self) -> None:
        self._keys: dict[CryptoKeyId, StoredKey] = {}
        self._loaded: set[CryptoKeyId] = set()
        self._change = asyncio.Event()

    def add(self, entry: StoredKey) -> CacheAddition:
        """Add a key. A key that is cached under its id stays, and keeps its kind."""
        known = self._keys.get(entry.key)
        if known is not None:
            return (
                CacheAddition.SAME if known.material == entry.material else CacheAddition.CONFLICT
            )
        self._keys[entry.key] = entry
        self.announce()
        return CacheAddition.NEW

    def put(self, entry: StoredKey) -> None:
        """Put a key into the cache, in place of one under its id."""
        self._keys[entry.key] = entry
        self._loaded.discard(entry.key)
        self.announce()

    def load(self, entries: Iterable[StoredKey]) -> int:
        """Add entries of the persisted store (step B4); returns how many were new."""
        new = [entry.key for entry in entries if self.add(entry) is CacheAddition.NEW]
        self._loaded.update(new)
        return len(new)

    def was_loaded(self, key: CryptoKeyId) -> bool:
        """Whether the cached key under this id came from the persisted store."""
        return key in self._loaded

    def remove(self, key: CryptoKeyId) -> bool:
        """Remove a key; returns whether it was cached."""
        self._loaded.discard(key)
        return self._keys.pop(key, None) is not None

    def __getitem__(self, key: CryptoKeyId) -> StoredKey:
        """A key with value and kind; ``KeyError`` when it is not cached."""
        return self._keys[key]

    def get(self, key: CryptoKeyId) -> KeyMaterial | None:
        """The value of a key; None when it is not cached."""
        entry = self._keys.get(key)
        return None if entry is None else entry.material

    def ids(self) -> tuple[CryptoKeyId, ...]:
        """The ids of all keys, in order of arrival."""
        return tuple(self._keys)

    def entries(self) -> tuple[StoredKey, ...]:
        """All keys with value and kind, in order of arrival."""
        return tuple(self._keys.values())

    def __contains__(self, key: CryptoKeyId) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def announce(self) -> None:
        """Wake the tasks that wait for keys or for encryption mode."""
        change, self._change = self._change, asyncio.Event()
        change.set()

    @property
    def next_change(self) -> asyncio.Event:
        """An event that is set at the next arrival. Get it before checking the cache, so that no
        arrival is missed."""
        return self._change


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
