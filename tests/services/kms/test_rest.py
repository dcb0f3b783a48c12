"""Keys at rest: no key bytes in the database, altered files are noticed, master key rules."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from protocol.attributes import ObjectName
from protocol.errors import CryptographicFailure
from protocol.messages.kms.keys import (
    Activate,
    AddAttribute,
    AuditRow,
    CreateKey,
    Destroy,
    GetAttributes,
    GetKeys,
    Locate,
    QueryAudit,
    Revoke,
)
from protocol.terms import KeyId, RevocationReason
from services.kms.audit.audit_trail import ID_LIMIT
from services.kms.commit.store import find, material
from services.kms.custody.anchor import ANCHOR_FILE
from services.kms.objects.key_row import StoredKeyRow
from services.kms.sealing.roots.keyfile import MASTER_FILE, make_master, read_master
from services.kms.sealing.vault import Vault, new_ring
from services.runtime.service import Halted
from tests.services.kms.ports import LOCAL, OPERATOR, OTHER, CountedRng, Server


async def lived(server: Server) -> list[KeyId]:
    """A server with keys in several states and a trail to tell of them."""
    ids = [
        (await server.ask(CreateKey(operation_id=str(n), activate=n > 0, get=True))).key_id
        for n in range(5)
    ]
    await server.ask(Revoke(key_id=ids[1]), OPERATOR)
    await server.ask(Revoke(key_id=ids[2], reason=RevocationReason.KEY_COMPROMISE), OPERATOR)
    await server.ask(Revoke(key_id=ids[3]), OPERATOR)
    await server.ask(Destroy(key_id=ids[3]), OPERATOR)
    await server.ask(Activate(key_id=ids[4]))
    for name, value in (("Name", ObjectName(value="five")), ("x-Owner", "somebody")):
        await server.ask(AddAttribute(key_id=ids[4], name=name, value=value), OPERATOR)
    return ids


# ---- no key bytes ---------------------------------------------------------------------------


def leaks(image: bytes, secret: bytes) -> bool:
    """Whether ``image`` holds the secret, raw or as text in either case of hexadecimal."""
    return any(
        form in image for form in (secret, secret.hex().encode(), secret.hex().upper().encode())
    )


async def test_no_key_bytes_in_the_database(server: Server) -> None:
    ids = await lived(server)
    got = await server.ask(GetKeys(key_ids=tuple(ids)))
    secrets = [key.reveal() for key in got.material.keys]
    secrets += [drawn for drawn in server.rng.tokens if len(drawn) == 32]  # also the master key
    assert len(secrets) == 4 + 6 + 2  # the key of the tags, and the KEK
    image = server.platter.image()
    assert ids[0].encode() in image, "the scan must be able to see what is in there"
    assert not any(leaks(image, secret) for secret in secrets)
    # The scan is able to find one: plant it, raw and as text.
    server.platter.sql("CREATE TABLE planted (canary BLOB)")
    for form in (secrets[0], secrets[0].hex()):
        server.platter.sql("INSERT INTO planted VALUES (?)", form)
        assert leaks(server.platter.image(), secrets[0])
        server.platter.sql("DELETE FROM planted")
        server.platter.sql("VACUUM")


async def test_destroyed_material_is_gone_from_the_file(server: Server) -> None:
    """Not even wrapped: what rows left behind when they grew and shrank is overwritten too."""
    ids = [(await server.ask(CreateKey(operation_id=str(n)))).key_id for n in range(40)]
    wrapped = [row[0] for row in server.platter.sql("SELECT wrapped FROM keys ORDER BY ordinal")]
    assert all(box in server.platter.image() for box in wrapped)
    for key_id in ids[::2]:
        await server.ask(Activate(key_id=key_id))
    for key_id in ids[::2]:
        await server.ask(Revoke(key_id=key_id), OPERATOR)
        await server.ask(Destroy(key_id=key_id), OPERATOR)
    image = server.platter.image()
    assert [box in image for box in wrapped] == [False, True] * 20


async def test_errors_and_records_show_no_key(server: Server) -> None:
    created = await server.ask(CreateKey(operation_id="1", get=True))
    assert created.material is not None
    secret = created.material.keys[0].reveal()
    server.platter.sql("UPDATE keys SET wrapped = zeroblob(60)")
    with pytest.raises(CryptographicFailure) as caught:
        await server.ask(GetKeys(key_ids=(created.key_id,)))
    shown = f"{caught.value!r} {created!r} {server.node.records!r}".encode()
    assert not leaks(shown, secret)


# ---- the master key -------------------------------------------------------------------------


async def test_another_master_key_opens_nothing(server: Server) -> None:
    created = await server.ask(CreateKey(operation_id="1"))
    connection = server.platter.databases["keys"]
    row = find(connection, server.vault, created.key_id)
    assert row is not None
    wrong = Vault(new_ring(0.0, bytes(32), bytes(32)))
    with pytest.raises(CryptographicFailure):
        find(connection, wrong, created.key_id)
    with pytest.raises(CryptographicFailure):
        material(wrong, row)
    assert material(server.vault, row) is not None


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (bytes(32), "the master key is another one"),
        (b"", "has 0 bytes"),
        (bytes(31), "has 31 bytes"),
        (bytes(33), "has 33 bytes"),
        (None, "the master key is missing"),
    ],
)
async def test_start_without_the_right_master_key(
    server: Server, content: bytes | None, why: str
) -> None:
    """It halts and says why; with the right file back it serves everything again."""
    ids = await lived(server)
    before = await server.ask(GetKeys(key_ids=tuple(ids)))
    kept = server.platter.written.pop(MASTER_FILE)
    if content is not None:
        server.platter.written[MASTER_FILE] = content
    with pytest.raises(Halted) as halted:
        await server.boot()
    assert "kms does not serve" in halted.value.screen
    assert why in halted.value.screen
    assert server.platter.written.get(MASTER_FILE) == content, "it must not make another"
    server.platter.written[MASTER_FILE] = kept
    await server.boot()
    assert await server.ask(GetKeys(key_ids=tuple(ids))) == before


async def test_master_key_survives_power_loss_from_the_first_start(server: Server) -> None:
    created = await server.ask(CreateKey(operation_id="1", get=True))
    server.platter.lose_power()
    await server.boot()
    got = await server.ask(GetKeys(key_ids=(created.key_id,)))
    assert got.material == created.material


async def test_first_start_cut_short_anywhere() -> None:
    """Master key made, trail not begun (or not even that): the next start goes on from there."""
    server = Server()
    await server.boot()
    master = server.platter.written[MASTER_FILE]
    server.platter.sql("DELETE FROM audit_head")
    server.platter.sql("DELETE FROM ring")
    del server.platter.written[ANCHOR_FILE]
    await server.boot()
    assert server.platter.written[MASTER_FILE] == master
    assert (await server.ask(CreateKey(operation_id="1"))).key_id
    server.platter.databases["keys"].close()


async def test_make_and_read_master(server: Server) -> None:
    made = await make_master(server.disk, CountedRng("other"))
    assert await read_master(server.disk) == made
    assert sorted(server.platter.written) == [ANCHOR_FILE, MASTER_FILE]


# ---- altered files --------------------------------------------------------------------------

ALTERATIONS = {
    "state back to Active": "UPDATE keys SET state = 'Active' WHERE state = 'Compromised'",
    "scope": "UPDATE keys SET scope = 'b' WHERE ordinal = 1",
    "operation id": "UPDATE keys SET operation_id = 'other' WHERE ordinal = 1",
    "key id": "UPDATE keys SET key_id = '0' WHERE ordinal = 1",
    "a date": "UPDATE keys SET initial_date = initial_date - 1 WHERE ordinal = 1",
    "material of another key": (
        "UPDATE keys SET wrapped = (SELECT wrapped FROM keys WHERE ordinal = 2) WHERE ordinal = 1"
    ),
    "material removed": "UPDATE keys SET wrapped = NULL WHERE ordinal = 1",
    "tag removed": "UPDATE keys SET tag = x'' WHERE ordinal = 1",
    "row removed": "DELETE FROM keys WHERE ordinal = 1",
    "audit result": "UPDATE audit SET result = 'Success' || ' ' WHERE sequence = 3",
    "audit who": "UPDATE audit SET who = 'nobody' WHERE sequence = 1",
    "audit time": "UPDATE audit SET at = at + 1 WHERE sequence = 2",
    "audit scope": "UPDATE audit SET scope = 'b' WHERE sequence = 2",
    "audit digest": "UPDATE audit SET digest = zeroblob(32) WHERE sequence = 2",
    "first audit row removed": "DELETE FROM audit WHERE sequence = 1",
    "audit row removed": "DELETE FROM audit WHERE sequence = 4",
    "last audit row removed": (
        "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)"
    ),
    "audit row numbered anew": "UPDATE audit SET sequence = 0 WHERE sequence = 2",
    "all audit rows removed": "DELETE FROM audit",
    "audit row added": (
        "INSERT INTO audit SELECT max(sequence) + 1, 0, 'x', 'default', 'Get', 'y', 'Success', 1, "
        "digest FROM audit"
    ),
    "audit head": "UPDATE audit_head SET sequence = sequence - 1",
    "audit head removed but not the trail": "DELETE FROM audit_head",
    "a KEK's number": (
        "UPDATE keys SET wrapped = CAST(x'00000002' || substr(wrapped, 5) AS BLOB) "
        "WHERE ordinal = 1"
    ),
    "index row removed": "DELETE FROM attribute_index WHERE name = 'Name'",
    "index row added": (
        "INSERT INTO attribute_index SELECT name, value, (SELECT key_id FROM keys WHERE "
        "ordinal = 1) FROM attribute_index WHERE name = 'Name'"
    ),
    "index value": "UPDATE attribute_index SET value = x'a161' WHERE name = 'x-Owner'",
    "index key": (
        "UPDATE attribute_index SET key_id = (SELECT key_id FROM keys WHERE ordinal = 1) "
        "WHERE name = 'x-Owner'"
    ),
    "ring's box": "UPDATE ring SET box = CAST(box || x'00' AS BLOB)",
    "ring's header": "UPDATE ring SET header = CAST(header || x'00' AS BLOB)",
    "ring removed": "DELETE FROM ring",
}


@pytest.mark.parametrize("statement", ALTERATIONS.values(), ids=ALTERATIONS)
async def test_altered_database_is_noticed_at_start(server: Server, statement: str) -> None:
    await lived(server)
    await server.boot()  # a start over the untouched file is fine
    server.platter.sql(statement)
    with pytest.raises(Halted, match=r"altered|removed|ends at|audit trail|KEK|index|ring"):
        await server.boot()


async def test_cut_trail_with_its_old_head_is_noticed(server: Server) -> None:
    """Somebody kept an old head with its tag: the chain holds, but the keys know better."""
    created = await server.ask(CreateKey(operation_id="1", activate=True))
    [old] = server.platter.sql("SELECT sequence, digest, tag FROM audit_head")
    await server.ask(Revoke(key_id=created.key_id), OPERATOR)
    server.platter.sql("DELETE FROM audit WHERE sequence > ?", old[0])
    server.platter.sql("UPDATE audit_head SET sequence = ?, digest = ?, tag = ?", *old)
    with pytest.raises(Halted, match="differs from the audit trail"):
        await server.boot()


async def test_rewritten_chain_is_noticed(server: Server) -> None:
    """Somebody recomputes every digest after a change; without the master key no tag fits."""
    await lived(server)
    columns = "sequence, at, who, scope, operation, key_id, result, times"

    def digests() -> list[bytes]:
        chain = [bytes(32)]
        for row in server.platter.sql(f"SELECT {columns} FROM audit ORDER BY sequence"):  # noqa: S608
            chain.append(hashlib.sha256(chain[-1] + msgspec.msgpack.encode(row)).digest())
        return chain[1:]

    stored = server.platter.sql("SELECT digest FROM audit ORDER BY sequence")
    assert digests() == [digest for (digest,) in stored], "the forger must know how it is done"
    server.platter.sql("UPDATE audit SET who = 'nobody' WHERE sequence = 2")
    for sequence, digest in enumerate(digests(), 1):
        server.platter.sql("UPDATE audit SET digest = ? WHERE sequence = ?", digest, sequence)
    server.platter.sql("UPDATE audit_head SET digest = ?", digests()[-1])
    with pytest.raises(Halted, match="the head of the audit trail was altered"):
        await server.boot()


async def test_older_row_put_back_is_noticed(server: Server) -> None:
    """A row with its own valid tag from before the compromise: the trail knows better."""
    created = await server.ask(CreateKey(operation_id="1", activate=True))
    columns = ", ".join((*StoredKeyRow.__struct_fields__, "tag"))
    [old] = server.platter.sql(f"SELECT {columns} FROM keys")  # noqa: S608
    await server.ask(
        Revoke(key_id=created.key_id, reason=RevocationReason.KEY_COMPROMISE), OPERATOR
    )
    server.platter.sql("DELETE FROM keys")
    places = ", ".join("?" * len(old))
    server.platter.sql(f"INSERT INTO keys ({columns}) VALUES ({places})", *old)  # noqa: S608
    with pytest.raises(Halted, match="differs from the audit trail"):
        await server.boot()


async def test_altered_row_is_noticed_while_serving(server: Server) -> None:
    """No key of the request leaves, other keys go on, and the trail says what happened."""
    ids = await lived(server)
    server.platter.sql("UPDATE keys SET state = 'Active' WHERE key_id = ?", ids[2])
    with pytest.raises(CryptographicFailure, match=ids[2]):
        await server.ask(GetKeys(key_ids=(ids[0], ids[2])))
    with pytest.raises(CryptographicFailure):
        await server.ask(GetAttributes(key_ids=(ids[2],)))
    with pytest.raises(CryptographicFailure):
        await server.ask(Activate(key_id=ids[2]))
    with pytest.raises(CryptographicFailure):
        await server.ask(CreateKey(operation_id="2", get=True))
    assert len((await server.ask(GetKeys(key_ids=(ids[0],)))).material.keys) == 1
    rows = (await server.ask(QueryAudit(), LOCAL)).rows[-5:]
    assert [(row.operation, row.key_id, row.result) for row in rows] == [
        ("Get", ids[0], "Cryptographic Failure"),
        ("Get", ids[2], "Cryptographic Failure"),
        ("Activate", ids[2], "Cryptographic Failure"),
        ("Create", "", "Cryptographic Failure"),
        ("Get", ids[0], "Success"),
    ]


# ---- the trail ------------------------------------------------------------------------------


async def test_trail_is_numbered_and_paged(server: Server) -> None:
    await lived(server)
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    assert [row.sequence for row in rows] == list(range(1, len(rows) + 1))
    assert len({row.digest for row in rows}) == len(rows)
    paged: list[AuditRow] = []
    while page := (await server.ask(QueryAudit(after=len(paged), limit=4), LOCAL)).rows:
        paged += page
    assert tuple(paged) == rows


@pytest.mark.parametrize("asked", ["", "a\0b", "ключ", "'; DROP TABLE keys; --", "x" * 5000])
async def test_made_up_ids(server: Server, asked: str) -> None:
    """Any text may be asked for: it is not found, and the trail stays whole."""
    await server.ask(CreateKey(operation_id=asked[:128] or "1"))
    got = await server.ask(GetKeys(key_ids=(KeyId(asked),)))
    assert got.values[0].state is None
    await server.boot()
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    assert (rows[-1].key_id, rows[-1].result) == (asked[:ID_LIMIT], "Item Not Found")
    assert (await server.ask(Locate())).total == 1
    assert (await server.ask(Locate(), OTHER)).total == 0
