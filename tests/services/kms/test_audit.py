"""The trail by itself: what is noted, where it ends, and the first row that is not as written."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator

import pytest

from protocol.errors import CryptographicFailure
from protocol.terms import ResultReason
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import EMPTY, AuditEntry, AuditTrail, TrailEnd
from services.kms.objects.request_types import AuditRecord, CoreOperation
from services.kms.sealing.vault import Vault, new_ring
from tests.services.kms.memory import in_memory

VAULT = Vault(new_ring(0.0, bytes(range(32)), bytes(32)))
AT = 1_000.5
LONG = "k" * (audit_trail.ID_LIMIT + 1)
CREATED = AuditEntry("vcenter", "a", CoreOperation.CREATE, "k1")
GOT = AuditEntry("vcenter", "a", CoreOperation.GET, "k1")
REFUSED = AuditEntry(
    "stranger", "b", CoreOperation.DESTROY, LONG, ResultReason.PERMISSION_DENIED, 7
)
DESTROYED = AuditEntry("operator", "b", CoreOperation.DESTROY, "k2")
REVOKED = AuditEntry("operator", "a", CoreOperation.REVOKE, "k1")


@pytest.fixture
def database() -> Iterator[sqlite3.Connection]:
    made = in_memory()
    for statement in audit_trail.SCHEMA:
        made.execute(statement)
    yield made
    made.close()


def written(database: sqlite3.Connection, *messages: tuple[AuditEntry, ...]) -> list[TrailEnd]:
    """Append the entries of each message and write them all; where each left the trail."""
    trail = AuditTrail(database, VAULT)
    assert trail.end() == audit_trail.head(database, VAULT)
    ends = [trail.append(AT, entries) for entries in messages]
    trail.write()
    assert trail.end() == audit_trail.head(database, VAULT)
    return ends


@pytest.fixture
def trail(database: sqlite3.Connection) -> sqlite3.Connection:
    """A trail of five rows, written by three messages in two transactions."""
    audit_trail.begin(database, VAULT)
    written(database, (CREATED, GOT))
    written(database, (REFUSED, DESTROYED), (REVOKED,))
    return database


def test_a_trail_begins_empty_and_once(database: sqlite3.Connection) -> None:
    assert not audit_trail.begun(database)
    with pytest.raises(CryptographicFailure, match=r"^the audit trail has no head$"):
        audit_trail.head(database, VAULT)
    audit_trail.begin(database, VAULT)
    assert audit_trail.begun(database)
    assert audit_trail.head(database, VAULT) == EMPTY == TrailEnd(0, bytes(32))
    assert audit_trail.check(database, VAULT) == ({}, {}, {}, {})
    assert written(database) == [], "nothing was appended"
    assert audit_trail.head(database, VAULT) == EMPTY
    with pytest.raises(sqlite3.IntegrityError):
        audit_trail.begin(database, VAULT)


def test_a_trail_ends_where_its_last_message_ended(database: sqlite3.Connection) -> None:
    audit_trail.begin(database, VAULT)
    ends = [EMPTY]
    ends += written(database, (CREATED, GOT), (REFUSED,))
    ends += written(database, (DESTROYED, REVOKED))
    assert [end.sequence for end in ends] == [0, 2, 3, 5]
    assert ends[-1] == audit_trail.head(database, VAULT)
    assert all(audit_trail.has(database, end) for end in ends)
    assert len({end.digest for end in ends}) == len(ends)
    for end, other in itertools.permutations(ends[1:], 2):
        assert not audit_trail.has(database, TrailEnd(end.sequence, other.digest))
    assert not audit_trail.has(database, TrailEnd(6, ends[-1].digest))


def test_the_last_change_of_each_key_is_told(trail: sqlite3.Connection) -> None:
    """Neither what only reads a key nor what was refused changes it."""
    assert audit_trail.check(trail, VAULT) == ({"k1": 5, "k2": 4}, {}, {}, {})


def test_rows_are_read_by_number_and_scope(trail: sqlite3.Connection) -> None:
    rows = audit_trail.read(trail, 0, 99, None)
    assert [row.sequence for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1].digest == audit_trail.head(trail, VAULT).digest.hex()
    assert rows[2] == AuditRecord(
        sequence=3,
        at=AT,
        who="stranger",
        operation="Destroy",
        key_id="k" * audit_trail.ID_LIMIT,
        result="Permission Denied",
        times=7,
        digest=rows[2].digest,
    )
    assert (rows[0].result, rows[0].times) == ("Success", 1)
    for after, limit, scope, found in (
        (2, 99, None, rows[2:]),
        (1, 2, None, rows[1:3]),
        (0, 99, "a", (rows[0], rows[1], rows[4])),
        (1, 99, "b", rows[2:4]),
        (0, 1, "b", rows[2:3]),
        (0, 99, "c", ()),
    ):
        assert audit_trail.read(trail, after, limit, scope) == found


HEAD = "the head of the audit trail was altered"


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        ("UPDATE audit SET who = 'x' WHERE sequence = 3", "audit row 3 was altered or removed"),
        ("UPDATE audit SET sequence = 9 WHERE sequence = 5", "audit row 5 was altered or removed"),
        (
            "UPDATE audit SET digest = x'00' WHERE sequence = 1",
            "audit row 1 was altered or removed",
        ),
        ("DELETE FROM audit WHERE sequence = 1", "audit row 1 was altered or removed"),
        ("DELETE FROM audit WHERE sequence = 4", "audit row 4 was altered or removed"),
        ("DELETE FROM audit WHERE sequence = 5", "the audit trail ends at row 4, not 5"),
        ("UPDATE audit_head SET sequence = 4", HEAD),
        ("UPDATE audit_head SET digest = x'00'", HEAD),
        ("UPDATE audit_head SET tag = x'00'", HEAD),
        ("DELETE FROM audit_head", "the audit trail has no head"),
    ],
)
def test_the_first_row_that_is_not_as_written_is_named(
    trail: sqlite3.Connection, edit: str, told: str
) -> None:
    trail.execute(edit)
    with pytest.raises(CryptographicFailure) as caught:
        audit_trail.check(trail, VAULT)
    assert str(caught.value) == told


def test_a_trail_that_was_written_anew_is_not_signed_without_the_key(
    trail: sqlite3.Connection,
) -> None:
    """The same rows by another: the chain is sound, its end is not this server's."""
    stranger = Vault(new_ring(0.0, bytes(32), bytes(32)))
    with pytest.raises(CryptographicFailure, match=HEAD):
        audit_trail.check(trail, stranger)


def test_a_chain_that_ends_elsewhere_than_its_head_is_told(trail: sqlite3.Connection) -> None:
    """A head of before, with its own tag, over a row that came later."""
    head = trail.execute("SELECT sequence, digest, tag FROM audit_head").fetchone()
    written(trail, (GOT,))
    trail.execute("UPDATE audit_head SET sequence = ?, digest = ?, tag = ?", head)
    with pytest.raises(CryptographicFailure, match=r"^the audit trail ends at row 6, not 5$"):
        audit_trail.check(trail, VAULT)


def test_a_sound_chain_of_other_rows_is_told(trail: sqlite3.Connection) -> None:
    """Whoever edits the file can make the chain anew, and cannot sign its end."""
    head = trail.execute("SELECT sequence, digest, tag FROM audit_head").fetchone()
    trail.execute("DELETE FROM audit")
    trail.execute("DELETE FROM audit_head")
    audit_trail.begin(trail, VAULT)
    written(trail, (CREATED, GOT, REFUSED, DESTROYED, DESTROYED))
    trail.execute("UPDATE audit_head SET sequence = ?, digest = ?, tag = ?", head)
    with pytest.raises(CryptographicFailure, match="the audit trail ends"):
        audit_trail.check(trail, VAULT)
