"""The key cache of a host: memory only, gone at reboot (STD-13)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import StrEnum

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId
from services.esxi.configuration.sections import StoredKey


class Added(StrEnum):
    """What putting a key into the cache did."""

    NEW = "new"
    SAME = "same"
    CONFLICT = "conflict"  # another key is there under this id; it stays


class KeyCache:
    """Keys by id, in order of arrival."""

    def __init__(self) -> None:
        self._keys: dict[CryptoKeyId, KeyMaterial] = {}
        self._change = asyncio.Event()

    def add(self, key: CryptoKeyId, material: KeyMaterial) -> Added:
        known = self._keys.get(key)
        if known is not None:
            return Added.SAME if known == material else Added.CONFLICT
        self._keys[key] = material
        self.announce()
        return Added.NEW

    def load(self, entries: Iterable[StoredKey]) -> int:
        """Entries of the persisted store (step B4); how many were new."""
        return sum(self.add(entry.key, entry.material) is Added.NEW for entry in entries)

    def remove(self, key: CryptoKeyId) -> bool:
        """Forget it; whether it was there."""
        return self._keys.pop(key, None) is not None

    def get(self, key: CryptoKeyId) -> KeyMaterial | None:
        return self._keys.get(key)

    def ids(self) -> tuple[CryptoKeyId, ...]:
        return tuple(self._keys)

    def entries(self) -> tuple[StoredKey, ...]:
        return tuple(StoredKey(key, material) for key, material in self._keys.items())

    def __contains__(self, key: CryptoKeyId) -> bool:
        return key in self._keys

    def __len__(self) -> int:
        return len(self._keys)

    def announce(self) -> None:
        """Wake whoever waits for keys or for encryption mode."""
        change, self._change = self._change, asyncio.Event()
        change.set()

    @property
    def next_change(self) -> asyncio.Event:
        """Set at the next arrival. Take it before looking, then wait: nothing is missed."""
        return self._change
