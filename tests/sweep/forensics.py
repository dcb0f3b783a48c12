"""Keys that lie on a host's boot device, found by whoever has its config key.

The file's format is that of ``services/esxi/configuration/archive.py``, read here by itself: all
pieces that open, in every file, as written and as synced, whatever the host makes of them.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Final

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_HEAD: Final = 8  # bytes of a length and its check
_NONCE: Final = 12
_TAG: Final = 16
_BOXES: Final = "SELECT key_id, wrapped FROM keys WHERE wrapped IS NOT NULL"


def clear_pieces(data: bytes, config_keys: Collection[bytes]) -> Iterator[bytes]:
    """The clear text of every piece of an archive file that one of these keys opens."""
    at, last_tag = 0, b""
    while at + _HEAD <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        piece = data[at + _HEAD : at + _HEAD + size]
        if last_tag:
            nonce, box, bound = piece[:_NONCE], piece[_NONCE:], b"behind " + last_tag
        else:
            try:
                _, bound, nonce, box = msgspec.msgpack.decode(piece)
            except (msgspec.DecodeError, ValueError):
                return
        for key in config_keys:
            try:
                yield AESGCM(key).decrypt(nonce, box, bound)
            except (InvalidTag, ValueError):
                continue
        last_tag = box[-_TAG:]
        at += _HEAD + size


def lying(
    files: Collection[tuple[str, bytes]], config_keys: Collection[bytes], keys: Mapping[str, bytes]
) -> dict[str, str]:
    """Which of these keys (by id) lie in which file, in clear or under a config key."""
    found: dict[str, str] = {}
    for path, data in files:
        for text in (data, *clear_pieces(data, config_keys)):
            found |= {name: path for name, value in keys.items() if value in text}
    return found


def read_wrapped_keys(files: Collection[tuple[str, bytes]]) -> dict[str, bytes]:
    """The box in which each key lies in a key server's database, by id; none of a destroyed key."""
    found: dict[str, bytes] = {}
    for path, data in files:
        if path == "databases/keys.db":
            with closing(sqlite3.connect(":memory:")) as connection:
                connection.deserialize(data)
                found |= connection.execute(_BOXES).fetchall()
    return found
