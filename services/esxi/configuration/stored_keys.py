"""The persisted store as a value: keys by id, in order of arrival.

A value is never changed; values derived from it share its entries. Adding to the latest value costs
what is added, not what it holds, and ``since`` returns what was added between two values without
comparing them: a save writes only that.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyKind


class StoredKey(msgspec.Struct, frozen=True):
    """A key with its value, as the persisted store keeps it; the cache holds it in this form too.

    ``kind`` is what the key is for.
    """

    key: CryptoKeyId
    material: KeyMaterial
    kind: KeyKind = KeyKind.VM


class StoredKeys:
    """The first ``_size`` entries of a list that a line of values shares, and their positions.

    Only the latest value of a line extends the list; any other change begins a new line.
    """

    __slots__ = ("_entries", "_places", "_size")

    def __init__(self, entries: Iterable[StoredKey] = ()) -> None:
        """These entries; of several under one id the last, at the position of the first."""
        by_id = {entry.key: entry for entry in entries}
        self._entries = list(by_id.values())
        self._places = {key: place for place, key in enumerate(by_id)}
        self._size = len(by_id)

    def get(self, key: CryptoKeyId) -> StoredKey | None:
        """The entry under that id; None when there is none."""
        place = self._places.get(key)
        return None if place is None or place >= self._size else self._entries[place]

    def adding(self, new: Iterable[StoredKey]) -> StoredKeys:
        """These entries added; an entry under a known id replaces it in its position. Returns
        ``self`` when that changes nothing."""
        changed = {entry.key: entry for entry in new if self.get(entry.key) != entry}
        if not changed:
            return self
        if self._size < len(self._entries) or any(self.get(key) is not None for key in changed):
            return StoredKeys((*self, *changed.values()))
        for key, entry in changed.items():
            self._places[key] = len(self._entries)
            self._entries.append(entry)
        grown = StoredKeys()
        grown._entries, grown._places = self._entries, self._places
        grown._size = len(self._entries)
        return grown

    def without(self, keys: Collection[CryptoKeyId]) -> StoredKeys:
        """Without the entries under these ids; ``self`` when there are none of them."""
        gone = {key for key in keys if self.get(key) is not None}
        if not gone:
            return self
        return StoredKeys(entry for entry in self if entry.key not in gone)

    def since(self, earlier: StoredKeys) -> tuple[StoredKey, ...] | None:
        """The entries added since ``earlier``; None when an entry of it may be gone or changed."""
        if earlier._entries is not self._entries or earlier._size > self._size:
            return None
        return tuple(self._entries[earlier._size : self._size])

    def __iter__(self) -> Iterator[StoredKey]:
        return iter(self._entries[: self._size])

    def __len__(self) -> int:
        return self._size

    def __contains__(self, key: CryptoKeyId) -> bool:
        return self.get(key) is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredKeys):
            return NotImplemented
        return self is other or list(self) == list(other)

    def __repr__(self) -> str:
        return f"StoredKeys({list(self)!r})"
