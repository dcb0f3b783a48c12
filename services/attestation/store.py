"""What an Attestation Service stores: its configuration, TPM counters, and the last use of images.

Each row has a check sum, so that a flipped bit is an error and not a wrong value. Functions run in
the database take and return values only.
"""

from __future__ import annotations

import errno
import sqlite3
import zlib
from collections.abc import Callable
from typing import Final, TypeVar

import msgspec

from protocol.errors import SaveFailed
from protocol.messages.attestation import AttestationConfiguration
from protocol.terms import NodeName
from protocol.tpm.quote import Attested
from protocol.trust import AttestationFinding
from services.attestation.policy import Counters, update_counters
from services.runtime.ports import Database

DATABASE: Final = "attestation"
SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS configuration (one INTEGER PRIMARY KEY, body BLOB) STRICT",
    "CREATE TABLE IF NOT EXISTS tpms (ek BLOB PRIMARY KEY, body BLOB) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS images (version TEXT PRIMARY KEY, attested REAL) STRICT",
)
_CHECK: Final = 4  # bytes of a CRC-32

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class AttestationStore:
    """See the module. ``SaveFailed`` when the disk fails; nothing has changed then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def configuration(self) -> AttestationConfiguration | None:
        """The configuration in force; None before the first."""
        return await self._database.query(_configuration)

    async def images(self) -> dict[str, float]:
        """When each base image was last used to attest, in Unix seconds."""

        def read(connection: sqlite3.Connection) -> dict[str, float]:
            return dict(connection.execute("SELECT version, attested FROM images"))

        return await self._database.query(read)

    async def configure(
        self, configuration: AttestationConfiguration, forget: tuple[bytes, ...]
    ) -> None:
        """Put it in force, and forget the counters of these TPMs (digests of their keys)."""
        body = _pack_row(b"configuration", configuration)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO configuration VALUES (1, ?)", (body,))
            connection.executemany("DELETE FROM tpms WHERE ek = ?", [(ek,) for ek in forget])

        await self._transact(write)

    async def count(
        self, ek: bytes, host: NodeName, quoted: Attested, image: str, at: float
    ) -> tuple[AttestationFinding, ...]:
        """Compare the TPM of ``host`` with its stored counters, and store the new ones. Without a
        finding, also store that ``image`` (empty: none) was used ``at``."""

        def compare(connection: sqlite3.Connection) -> list[AttestationFinding]:
            row = connection.execute("SELECT body FROM tpms WHERE ek = ?", (ek,)).fetchone()
            known = None if row is None else _unpack_row(ek, row[0], Counters)
            after, findings = update_counters(known, quoted, host)
            packed = _pack_row(ek, after)
            connection.execute("INSERT OR REPLACE INTO tpms VALUES (?, ?)", (ek, packed))
            if image and not findings:
                connection.execute("INSERT OR REPLACE INTO images VALUES (?, ?)", (image, at))
            return findings

        return tuple(await self._transact(compare))

    async def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._database.transact(work)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SaveFailed(f"the Attestation Service could not save: {reason}") from None


def _configuration(connection: sqlite3.Connection) -> AttestationConfiguration | None:
    row = connection.execute("SELECT body FROM configuration").fetchone()
    if row is None:
        return None
    return _unpack_row(b"configuration", row[0], AttestationConfiguration)


def _pack_row(place: bytes, value: msgspec.Struct) -> bytes:
    body = _encode(value)
    return zlib.crc32(place + body).to_bytes(_CHECK, "big") + body


def _unpack_row(place: bytes, packed: bytes, kind: type[S]) -> S:
    check, body = packed[:_CHECK], packed[_CHECK:]
    if zlib.crc32(place + body).to_bytes(_CHECK, "big") != check:
        raise OSError(errno.EIO, "a row of the Attestation Service was damaged")
    return msgspec.msgpack.decode(body, type=kind)
