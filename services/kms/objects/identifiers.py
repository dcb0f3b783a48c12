"""Ids of new keys.

Random ids are the rule: two servers that know nothing of each other never give one id to two keys.
``timed`` ids begin with the time, so that keys created together are adjacent in every index of the
database: a Create writes into the last page of each index, instead of any page. The id then reveals
when the key was created, as its Initial Date does. ``sequential`` is a flaw that a lab may request,
as in servers that number their objects: two disconnected servers give the same number to two
materials.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from enum import StrEnum
from typing import ClassVar, Final

from protocol.terms import KeyId
from services.runtime.ports import Database

_VARIANT: Final = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))
"""The digit of a UUID whose first two bits are its variant, by the random digit."""

_LATEST_MS: Final = 2**48 - 1


class IdScheme(StrEnum):
    """``random``: UUIDs of version 4. ``timed``: of version 7. ``sequential``: 1, 2, 3 and so on,
    which is a flaw."""

    RANDOM = "random"
    TIMED = "timed"
    SEQUENTIAL = "sequential"


class Ids:
    """Random ids: UUIDs of version 4. ``unheard``: no other server ever draws one of these."""

    unheard: ClassVar[bool] = True

    def draw(self, random: bytes, at: float) -> KeyId:
        """The id of a new key. ``random``: 16 bytes; ``at`` in Unix seconds."""
        return _text("4", random.hex())

    def learn(self, key_ids: Iterable[KeyId]) -> None:
        """Another server has used these ids."""


class TimedIds(Ids):
    """UUIDs of version 7: milliseconds since 1970, and 74 random bits (RFC 9562 section 5.7)."""

    def draw(self, random: bytes, at: float) -> KeyId:
        """See ``Ids``."""
        since = min(max(int(at * 1000), 0), _LATEST_MS)
        return _text("7", f"{since:012x}{random[6:].hex()}")


class SequentialIds(Ids):
    """Numbers that continue from the highest that this server knows; each is used once in its
    life."""

    unheard: ClassVar[bool] = False

    def __init__(self, last: int) -> None:
        self._last = last

    def draw(self, random: bytes, at: float) -> KeyId:
        """See ``Ids``."""
        self._last += 1
        return KeyId(str(self._last))

    def learn(self, key_ids: Iterable[KeyId]) -> None:
        """See ``Ids``."""
        numbers = [int(key_id) for key_id in key_ids if key_id.isascii() and key_id.isdigit()]
        self._last = max([self._last, *numbers])


async def ids_of(scheme: IdScheme, database: Database) -> Ids:
    """The ids of the keys of a server whose store is ``database``."""
    if scheme is IdScheme.RANDOM:
        return Ids()
    if scheme is IdScheme.TIMED:
        return TimedIds()

    def list_ids(connection: sqlite3.Connection) -> list[KeyId]:
        return [KeyId(key_id) for (key_id,) in connection.execute("SELECT key_id FROM keys")]

    ids = SequentialIds(0)
    ids.learn(await database.query(list_ids))
    return ids


def _text(version: str, digits: str) -> KeyId:
    """A UUID as text (RFC 9562 section 4), from 32 digits except those of version and variant."""
    rest = f"{version}{digits[13:16]}-{_VARIANT[digits[16]]}{digits[17:20]}-{digits[20:]}"
    return KeyId(f"{digits[:8]}-{digits[8:12]}-{rest}")
