"""The key cache of a host: memory only, gone at reboot (STD-13)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId
from services.esxi.configuration.stored_keys import StoredKey


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
