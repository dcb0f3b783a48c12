"""A row as text in the database: a check over where it stands and what it says, then its JSON.

SQLite has no check of its own over what a page holds, so a flipped bit would be read as truth.
"""

from __future__ import annotations

import errno
import zlib
from functools import cache
from typing import Final, TypeVar

import msgspec

X = TypeVar("X", bound=msgspec.Struct)

_CHECK: Final = 8  # hexadecimal digits of a CRC-32


def encode_row(place: str, row: msgspec.Struct) -> str:
    """The text of ``row`` at ``place`` (its table and name, or an event's time)."""
    body = msgspec.json.encode(row).decode()
    return _check(place, body) + body


def decode_row(place: str, text: str, kind: type[X]) -> X:
    """The row; ``OSError`` when the text is not as it was written for this place."""
    check, body = text[:_CHECK], text[_CHECK:]
    if check == _check(place, body):
        row: X = _decoder(kind).decode(body)
        return row
    raise OSError(errno.EIO, f"the inventory's row {place} was damaged")


@cache
def _decoder(kind: type[X]) -> msgspec.json.Decoder[X]:
    return msgspec.json.Decoder(kind)


def _check(place: str, body: str) -> str:
    return f"{zlib.crc32(f'{place}|{body}'.encode()):08x}"
