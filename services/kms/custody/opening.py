"""Opening the store of a key server: its database, its key ring, and a check of every row."""

from __future__ import annotations

import errno
import sqlite3
from dataclasses import dataclass
from typing import Final

import msgspec

from protocol.crypto.wrap import KEK_SIZE, NONCE_SIZE
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.access import authorization, rejections
from services.kms.access.rejections import Rejection
from services.kms.audit import audit_trail
from services.kms.commit import store
from services.kms.objects import attributes
from services.kms.objects.key_row import StoredKeyRow
from services.kms.replication import pair_state
from services.kms.sealing.roots import ROOTS
from services.kms.sealing.roots.base import RootLocked, RootMeans
from services.kms.sealing.roots.passphrase import CURE
from services.kms.sealing.vault import (
    NUMBER_SIZE,
    Header,
    Vault,
    kek_bytes,
    new_ring,
    pack_header,
    seal,
    unpack_header,
    unseal,
)
from services.runtime.ports import Database

DATABASE: Final = "keys"
SCHEMA: Final = (
    *store.SCHEMA,
    *audit_trail.SCHEMA,
    *pair_state.SCHEMA,
    *authorization.IDENTITIES_SCHEMA,
    *rejections.SCHEMA,
)
_encode = msgspec.msgpack.Encoder().encode
_COLUMN: Final = {name: place for place, name in enumerate(StoredKeyRow.__struct_fields__)}
_ID, _WRAPPED = _COLUMN["key_id"], _COLUMN["wrapped"]
_CHANGED, _ATTRIBUTES = _COLUMN["changed"], _COLUMN["attributes"]


class OtherFormat(Exception):
    """The database was written by another version of keystead; the text says which format."""


@dataclass(frozen=True)
class OpenedStore:
    """An open store. ``root`` is the key that ``header`` describes; it seals the ring when that
    changes.

    ``rejections``: as in the database. ``cut_left``: rows that an earlier life has cut still exist.
    """

    database: Database
    vault: Vault
    header: Header
    root: KeyMaterial
    rejections: tuple[Rejection, ...] = ()
    cut_left: bool = False


async def open_store(means: RootMeans, kind: RootKind, at: float) -> OpenedStore:
    """Open the database and its key ring. On the first start both are created, with a root of
    ``kind`` and a ring of the time ``at`` (Unix seconds).

    ``OtherFormat`` when another version wrote the database, ``RootLocked`` when its root does not
    give its key. ``CryptographicFailure`` when the database cannot be read, the material of the
    root is missing or wrong, or a row of the keys, the index or the trail is not as this server
    wrote it.
    """
    try:
        return await _open_store(means, kind, at)
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        raise CryptographicFailure(f"its database cannot be read: {error.strerror}") from None
    except sqlite3.Error as error:  # its tables are not the ones that were created
        raise CryptographicFailure(f"its database cannot be read: {error}") from None


async def _open_store(means: RootMeans, kind: RootKind, at: float) -> OpenedStore:
    database = await means.disk.database(DATABASE, SCHEMA)
    if await database.query(begun):
        await database.query(_check_format)
        packed, box = await database.query(store.ring)
        header = unpack_header(packed)
        root = await ROOTS[header.kind].open(means, header.params)
        try:
            vault = Vault(unseal(box, root, packed))
        except CryptographicFailure:
            raise _another(header.kind) from None
    else:
        root, params = await ROOTS[kind].make(means)
        header = Header(kind, params, at)
        ring = new_ring(at, means.rng.token(KEK_SIZE), means.rng.token(KEK_SIZE))
        vault, packed = Vault(ring), pack_header(header)
        box = seal(ring, root, packed, means.rng.token(NONCE_SIZE))
        await database.transact(lambda connection: begin(connection, vault, packed, box))
    found, left = await database.query(
        lambda connection: (check(connection, vault), audit_trail.left(connection))
    )
    return OpenedStore(database, vault, header, root, found, left)


def _another(kind: RootKind) -> Exception:
    match kind:
        case RootKind.KEYFILE:
            text = "the key ring was altered, or the master key is another one"
            return CryptographicFailure(text)
        case RootKind.PASSPHRASE:
            return RootLocked(f"that is not the passphrase that opens its keys. {CURE}")
        case RootKind.TPM:
            return CryptographicFailure("the key ring was altered")


def begun(connection: sqlite3.Connection) -> bool:
    """Whether a server ever used this database. An existing ring is never replaced by a new one,
    whatever else is missing."""
    ring = connection.execute("SELECT 1 FROM ring").fetchone()
    return ring is not None or audit_trail.begun(connection)


def begin(connection: sqlite3.Connection, vault: Vault, header: bytes, box: bytes) -> None:
    """Initialise a new database."""
    connection.execute("INSERT OR REPLACE INTO format VALUES (1, ?)", (store.FORMAT,))
    store.write_ring(connection, header, box)
    audit_trail.begin(connection, vault)


def _check_format(connection: sqlite3.Connection) -> None:
    found = connection.execute("SELECT number FROM format").fetchone()
    number = 1 if found is None else found[0]
    if number != store.FORMAT:
        raise OtherFormat(f"its database has format {number}, and this version has {store.FORMAT}")


def check(connection: sqlite3.Connection, vault: Vault) -> tuple[Rejection, ...]:
    """Verify every row against its tag and against the trail, keys in the order of their creation,
    and the index against the rows; ``CryptographicFailure`` names the first altered one.

    Returns the rejections.
    """
    _check_schema(connection)
    subjects = audit_trail.check(connection, vault)
    _check_identities(connection, vault, subjects.identities)
    found = _check_rejections(connection, vault, subjects)
    _check_keys(connection, vault, subjects.keys)
    return found


def _check_schema(connection: sqlite3.Connection) -> None:
    """Refuse triggers and views, which this server does not make: they could change rows."""
    found = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('trigger', 'view')")
    for (name,) in found:
        raise CryptographicFailure(f"its database has {name!r}, which this server did not make")


def _check_identities(
    connection: sqlite3.Connection, vault: Vault, changed: dict[str, int]
) -> None:
    for identity in authorization.list_identities(connection, vault):
        if changed.pop(identity.digest, None) != identity.changed:
            raise CryptographicFailure(f"identity {identity.digest} differs from the audit trail")
    for digest in changed:
        raise CryptographicFailure(f"identity {digest} is in the audit trail, but its row is gone")


def _check_rejections(
    connection: sqlite3.Connection, vault: Vault, subjects: audit_trail.Subjects
) -> tuple[Rejection, ...]:
    found = rejections.list_rejections(connection, vault)
    there = {one.name: one.changed for one in found}
    ended = subjects.ended
    left = {name: at for name, at in subjects.rejections.items() if at > ended.get(name, 0)}
    for name in sorted({*there, *left}):
        if there.get(name) != left.get(name):
            raise CryptographicFailure(f"rejection {name} differs from the audit trail")
    return found


def _check_keys(connection: sqlite3.Connection, vault: Vault, changed: dict[str, int]) -> None:
    """``changed``: the keys in the trail, in the order in which they were made."""
    made = list(changed)
    wrapping = {kek_bytes(kek.number) for kek in vault.ring.keks}
    held: dict[str, bytes] = {}
    there: list[str] = []
    tagged = vault.verifier(store.KIND)
    for found in store.raw(connection):
        # A raw SQLite row encodes as a KeyRow does, so no KeyRow is built only to be checked.
        row, key_id = found[:-1], found[_ID]
        if not tagged(_encode(row), found[-1]):
            raise store.row_altered(key_id)
        if changed.pop(key_id, None) != row[_CHANGED]:
            raise CryptographicFailure(f"key {key_id} differs from the audit trail")
        there.append(key_id)
        wrapped = row[_WRAPPED]
        if wrapped is not None and wrapped[:NUMBER_SIZE] not in wrapping:
            raise CryptographicFailure(f"key {key_id} is wrapped under a KEK that is gone")
        if row[_ATTRIBUTES]:
            held[key_id] = row[_ATTRIBUTES]
    for key_id in changed:
        raise CryptographicFailure(f"key {key_id} is in the audit trail, but its row is gone")
    if there != made or store.misplaced(connection):
        raise CryptographicFailure("the keys are not in the order of their creation")
    _check_index(connection, held)


def _check_index(connection: sqlite3.Connection, held: dict[str, bytes]) -> None:
    """``held``: the attributes in the row of each key that ever had some."""
    there: list[tuple[str, bytes]] = []
    of = ""
    for key_id, name, value in connection.execute(
        "SELECT key_id, name, value FROM attribute_index ORDER BY key_id"
    ):
        if key_id != of:
            _check_indexed(of, there, held)
            there, of = [], key_id
        there.append((name, value))
    _check_indexed(of, there, held)
    for key_id in tuple(held):
        _check_indexed(key_id, [], held)


def _check_indexed(key_id: str, there: list[tuple[str, bytes]], held: dict[str, bytes]) -> None:
    expected = attributes.raw_index(held.pop(key_id, b""))
    if there != expected and {*there} != {*expected}:
        raise CryptographicFailure(f"the index of attributes is not that of key {key_id}")
