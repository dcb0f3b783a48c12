"""The key cache of a host: memory only, gone at reboot (STD-13)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId
from services.esxi.configuration.stored_keys import StoredKey


class CacheAddition(StrEnum):
    """What putting a key into the cache did."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"  # another key is there under this id; it stays


class KeyCache:
    """Keys by id, in order of arrival."""

    def __init__(self) -> None:
        self._keys: dict[CryptoKeyId, StoredKey] = {}
        self._loaded: set[CryptoKeyId] = set()
        self._change = asyncio.Event()

    def add(self, entry: StoredKey) -> CacheAddition:
        """Put a key into the cache. What is under its id already stays, and keeps its kind."""
        known = self._keys.get(entry.key)
        if known is not None:
            return (
                CacheAddition.SAME if known.material == entry.material else CacheAddition.CONFLICT
            )
        self._keys[entry.key] = entry
        self.announce()
        return CacheAddition.NEW

    def put(self, entry: StoredKey) -> None:
        """Put a key into the cache in the place of what is under its id."""
        self._keys[entry.key] = entry
        self._loaded.discard(entry.key)
        self.announce()

    def load(self, entries: Iterable[StoredKey]) -> int:
        """Add entries of the persisted store (step B4); how many were new."""
        new = [entry.key for entry in entries if self.add(entry) is CacheAddition.NEW]
        self._loaded.update(new)
        return len(new)

    def was_loaded(self, key: CryptoKeyId) -> bool:
        """Whether what is here under this id came out of the persisted store."""
        return key in self._loaded

    def remove(self, key: CryptoKeyId) -> bool:
        """Forget it; whether it was there."""
        self._loaded.discard(key)
        return self._keys.pop(key, None) is not None

    def __getitem__(self, key: CryptoKeyId) -> StoredKey:
        """A key with value and kind; ``KeyError`` when it is not here."""
        return self._keys[key]

    def get(self, key: CryptoKeyId) -> KeyMaterial | None:
        """The value of a key; None when it is not here."""
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
        """Set at the next arrival. Take it before looking, then wait: nothing is missed."""
        return self._change
