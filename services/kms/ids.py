"""How new keys are named.

Random ids are the rule: two servers that know nothing of each other never give one id to two keys.
``sequential`` is a flaw that a lab may ask for, as in servers that number their objects: cut off
from each other, two servers give the same number to two materials.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from protocol.terms import KeyId
from services.runtime.ports import Database

_VERSION_4: Final = (
    0xFFFFFFFF_FFFF_0FFF_3FFF_FFFFFFFFFFFF,
    0x00000000_0000_4000_8000_000000000000,
)


class IdScheme(StrEnum):
    """``random``: UUIDs of version 4. ``sequential``: 1, 2, 3 and so on, which is a flaw."""

    RANDOM = "random"
    SEQUENTIAL = "sequential"


class Ids:
    """Random ids: UUIDs of version 4."""

    def draw(self, random: bytes) -> KeyId:
        """The id of a new key. ``random``: 16 bytes."""
        return _uuid(random)

    def learned(self, key_ids: Iterable[KeyId]) -> None:
        """These ids were given elsewhere."""


class SequentialIds(Ids):
    """Numbers that go on from the highest that this server knows; given out once in its life."""

    def __init__(self, last: int) -> None:
        self._last = last

    def draw(self, random: bytes) -> KeyId:
        """See ``Ids``."""
        self._last += 1
        return KeyId(str(self._last))

    def learned(self, key_ids: Iterable[KeyId]) -> None:
        """See ``Ids``."""
        numbers = [int(key_id) for key_id in key_ids if key_id.isascii() and key_id.isdigit()]
        self._last = max([self._last, *numbers])


async def ids_of(scheme: IdScheme, database: Database) -> Ids:
    """What names the keys of a server whose store is ``database``."""
    if scheme is IdScheme.RANDOM:
        return Ids()

    def known(connection: sqlite3.Connection) -> list[KeyId]:
        return [KeyId(key_id) for (key_id,) in connection.execute("SELECT key_id FROM keys")]

    ids = SequentialIds(0)
    ids.learned(await database.query(known))
    return ids


def _uuid(random: bytes) -> KeyId:
    """A UUID of version 4 of 16 random bytes, as text (RFC 9562 section 5.4)."""
    free, fixed = _VERSION_4
    digits = f"{int.from_bytes(random) & free | fixed:032x}"
    return KeyId("-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])))
