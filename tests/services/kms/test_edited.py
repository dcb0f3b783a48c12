"""Every column of every row of a key server's database, edited by hand: it serves from none."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

import pytest

from protocol.crypto import certificates
from protocol.errors import CryptographicFailure, GeneralFailure, PermissionDenied
from protocol.messages.kms.administration import (
    QueryIdentities,
    RenewServerCertificate,
    RevokeIdentity,
    RotateKek,
    TrustIdentity,
)
from protocol.messages.kms.keys import GetKeys, QueryAudit
from protocol.secret import KeyMaterial
from services.kms.access.authorization import Identity, caller_at
from services.kms.access.rejections import Rejection
from services.kms.audit.audit_trail import TrailEnd
from services.kms.endpoints.kmip_clients import IdentityAdmission
from services.kms.settings.config import KmsRole
from services.runtime.service import Halted
from tests.services.kms.memory import in_memory
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, VCENTER, Platter, Server
from tests.services.kms.test_rest import lived

UNSIGNED: Final = {"sqlite_sequence", "waiting", "peer"}
"""Tables that hold no key, and whose edit is told by nothing here (docs/key-server.md)."""


@pytest.fixture
async def full(server: Server) -> Server:
    """A server with rows in every table that is signed."""
    await lived(server)
    admission = await server.service.kmip_identities()
    for number in (1, 2):
        await trusted(admission, number)
    await admission.revoke(CONSOLE, admission.all()[0].digest)
    core = server.service.core
    for name in ("quota", "sealed"):
        new = Rejection(name=name, reason="General Failure", operations=("Get",), probability=0.5)
        await core.rejections.begin(core, CONSOLE, new)
    await core.rejections.end(core, CONSOLE, "quota")
    for number in (2, 5):
        [(digest,)] = server.platter.sql("SELECT digest FROM audit WHERE sequence = ?", number)
        await server.service.retention.cut(CONSOLE, TrailEnd(number, digest))
    return server


CONSOLE: Final = caller_at(CONFIG, LOCAL.node, local=True)


def certificate(number: int, name: str = "") -> bytes:
    seed = bytes([number]) * certificates.SEED_SIZE
    key = certificates.new_key(KeyMaterial(seed))
    serial = seed[: certificates.SERIAL_SIZE]
    return certificates.self_signed(name or f"c{number}", key, serial, 0.0, 1e9)


async def trusted(
    admission: IdentityAdmission, number: int, role: KmsRole = KmsRole.OWNER, scope: str = "default"
) -> Identity:
    return await admission.trust(CONSOLE, certificate(number), role, scope)


def edits(value: object) -> Iterator[Any]:
    """Other values of one column: one bit, one step, nothing, and no text at all."""
    match value:
        case bytes():
            for place in sorted({0, len(value) // 2, len(value) - 1}) if value else ():
                other = bytearray(value)
                other[place] ^= 1
                yield bytes(other)
            yield value + b"\0"
            yield value[:-1]
        case str():
            yield value + "x"
            yield value.swapcase()
            yield value.encode()[:-1] + b"\xff"
        case int():
            yield from (value + 1, value - 1, -value, 2**62)
        case float():
            yield from (value + 1.0, float("inf"))
        case _:
            yield from (7.5, b"7")


def edited(platter: Platter) -> Iterator[tuple[str, Platter]]:
    """(what was done, the disk) for every edit of one value, and every row that is removed."""
    image = platter.image()
    connection = platter.databases["keys"]
    tables = [
        name
        for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    ]
    for table in sorted({*tables} - UNSIGNED):
        columns = connection.execute(f"PRAGMA table_info({table})").fetchall()
        names = [column[1] for column in columns]
        keys = [column[1] for column in columns if column[5]]
        rows = connection.execute(f"SELECT {', '.join(names)} FROM {table}").fetchall()  # noqa: S608
        assert rows, f"{table} has no row to edit"
        which = " AND ".join(f"{name} = ?" for name in keys)
        for row in rows:
            place = [row[names.index(name)] for name in keys]
            statements = [(f"DELETE FROM {table} WHERE {which}", place)]  # noqa: S608
            for name, value in zip(names, row, strict=True):
                text = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
                statement = f"UPDATE {table} SET {name} = {text} WHERE {which}"  # noqa: S608
                statements += [
                    (statement, [other, *place]) for other in edits(value) if other != value
                ]
            for statement, values in statements:
                other = in_memory()
                other.deserialize(image)
                try:
                    other.execute(statement, values)
                except sqlite3.IntegrityError:
                    other.close()  # SQLite itself has refused it
                    continue
                yield f"{statement} {values}", Platter(dict(platter.written), {}, {"keys": other})


@pytest.mark.slow
async def test_no_value_of_any_row_is_another_one(full: Server) -> None:
    tried = 0
    for what, platter in edited(full.platter):
        again = Server(platter=platter)
        with pytest.raises(Halted) as halted:
            await again.boot()
            raise AssertionError(what)
        assert "does not serve" in halted.value.screen
        platter.databases["keys"].close()
        tried += 1
    assert tried > 500


async def halted(server: Server, why: str) -> None:
    with pytest.raises(Halted, match=why):
        await server.boot()


@pytest.mark.parametrize(
    "order",
    [
        "UPDATE keys SET ordinal = ordinal + 100 WHERE ordinal = 1",
        "UPDATE keys SET ordinal = ordinal - 100",
        "UPDATE keys SET ordinal = -ordinal; UPDATE keys SET ordinal = 6 + ordinal",
    ],
    ids=["another place", "before the first", "the other way round"],
)
async def test_the_order_of_keys_is_the_trails(server: Server, order: str) -> None:
    """No tag has it; lists and rotations go by it, and pass over what stands elsewhere."""
    await lived(server)
    server.platter.databases["keys"].executescript(order)
    await halted(server, "not in the order of their creation")


@pytest.mark.parametrize(
    "planted",
    [
        "CREATE TABLE stash (wrapped BLOB); CREATE TRIGGER t AFTER UPDATE OF wrapped ON keys "
        "BEGIN INSERT INTO stash VALUES (OLD.wrapped); END",
        "ALTER TABLE peer RENAME TO p; CREATE VIEW peer AS SELECT * FROM p WHERE 0",
    ],
    ids=["trigger", "view"],
)
async def test_nothing_is_done_beside_a_change_of_a_row(server: Server, planted: str) -> None:
    """As a copy of what is destroyed."""
    await lived(server)
    server.platter.databases["keys"].executescript(planted)
    await halted(server, "which this server did not make")


async def test_an_older_row_of_an_identity_is_noticed(full: Server) -> None:
    """With its own tag: of one that was revoked since, or had another role or scope."""
    admission = await full.service.kmip_identities()
    for role, scope in (
        (KmsRole.VSAN, "default"),
        (KmsRole.VSAN, "b"),
        (KmsRole.OWNER, "b"),
    ):
        digest = (await trusted(admission, 3)).digest
        [old] = full.platter.sql("SELECT * FROM identities WHERE digest = ?", digest)
        await trusted(admission, 3, role, scope)
        [new] = full.platter.sql("SELECT * FROM identities WHERE digest = ?", digest)
        full.platter.sql("REPLACE INTO identities VALUES (?, ?, ?)", *old)
        await halted(full, f"identity {digest} differs from the audit trail")
        full.platter.sql("REPLACE INTO identities VALUES (?, ?, ?)", *new)
        await full.boot()
        admission = await full.service.kmip_identities()
        assert [(one.role, one.scope) for one in admission.all() if one.digest == digest] == [
            (role, scope)
        ]


@pytest.mark.parametrize("state", ["'Nonsense'", "CAST(x'ff' AS TEXT)"])
async def test_a_row_that_says_nonsense_is_refused_while_serving(
    server: Server, state: str
) -> None:
    """Clearly, and a rotation goes on with the life of the server."""
    ids = await lived(server)
    server.platter.sql(f"UPDATE keys SET state = {state} WHERE key_id = ?", ids[2])  # noqa: S608
    with pytest.raises((CryptographicFailure, GeneralFailure), match=r"altered|damaged"):
        await server.ask(GetKeys(key_ids=(ids[2],)))
    await server.ask(RotateKek(after=1), OPERATOR)
    for _ in range(20):
        await server.clock.sleep(0)
    assert {kind for kind, _ in server.node.records} & {"kms.rewrap_ended", "kms.rewrap_waits"}
    assert (await server.ask(GetKeys(key_ids=(ids[0],)))).material.keys


async def test_who_is_refused_at_the_console_is_told(server: Server) -> None:
    """Everything but the question is in the trail, whoever asks it from elsewhere."""
    for message, peer in (
        (TrustIdentity(certificate=b"", role="owner", scope="default"), VCENTER),
        (RevokeIdentity(digest="00"), OPERATOR),
        (RenewServerCertificate(), OPERATOR),
        (QueryIdentities(), OPERATOR),
    ):
        with pytest.raises(PermissionDenied):
            await server.ask(message, peer)
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    assert [(row.who, row.operation, row.result) for row in rows] == [
        ("vcenter", "Trust", "Permission Denied"),
        ("operator", "Distrust", "Permission Denied"),
        ("operator", "Trust", "Permission Denied"),
        ("operator", "Trust", "Permission Denied"),
    ]


async def test_a_name_in_the_trail_is_of_one_client(full: Server) -> None:
    """Whoever asks for a certificate chooses the name that stands in it."""
    admission = await full.service.kmip_identities()
    known = await trusted(admission, 3)
    other = await admission.trust(CONSOLE, certificate(4, known.name), KmsRole.VSAN, "default")
    again = await admission.trust(CONSOLE, certificate(4, known.name), KmsRole.VSAN, "b")
    callers = [admission.caller(certificate(number, known.name)) for number in (3, 4, 5, 6)]
    assert len({caller.who for caller in callers}) == 4
    assert callers[0].who == f"kmip/{known.name}" and other.name == again.name
    for caller in callers[2:]:
        assert caller.role is None and known.name in caller.who


async def test_a_name_is_one_line_whoever_chose_it(full: Server) -> None:
    """The log of a node has it among its fields, and errors repeat it."""
    admission = await full.service.kmip_identities()
    chosen = certificate(7, "one\n99 local/kms Destroy\x1b[31m")
    said = "one\\n99 local/kms Destroy\\x1b[31m"
    assert admission.caller(chosen).who.endswith(said)
    known = await admission.trust(CONSOLE, chosen, KmsRole.OWNER, "default")
    assert known.name == said
