"""Logs, epochs and marks of a server that replicates after the answer, in a database alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from typing import cast

import pytest

from protocol.messages.kms import replication as m
from protocol.terms import KeyId, NodeName
from services.kms.audit.audit_trail import EMPTY, TrailEnd
from services.kms.replication import oplog, standing
from services.kms.replication.oplog import Active, LogPlace, LogRow
from services.kms.sealing.vault import Vault
from tests.services.kms.memory import in_memory

ME, PEER, THIRD = NodeName("kms-1"), NodeName("kms-2"), NodeName("kms-3")
ONE, TWO = KeyId("one"), KeyId("two")


@pytest.fixture
def log() -> Iterator[sqlite3.Connection]:
    connection = in_memory()
    connection.execute("CREATE TABLE keys (key_id TEXT, origin TEXT, ordinal INTEGER)")
    life(connection, 5)
    yield connection
    connection.close()


def life(connection: sqlite3.Connection, drawn: int) -> None:
    """The server begins."""
    oplog.begin(connection, ME, (PEER, THIRD), None, at=0.0, drawn=drawn)


def own(connection: sqlite3.Connection) -> LogPlace:
    return oplog.marks(connection, ME)[ME]


def row(node: NodeName, sequence: int, key: KeyId = ONE) -> LogRow:
    return LogRow(node, key, LogPlace(7, sequence), 1.0)


def test_behind_a_gap_nothing_is_counted_and_it_comes_again(log: sqlite3.Connection) -> None:
    oplog.take(log, ME, [row(PEER, 3)], {PEER: LogPlace(7, 2)}, 2.0)
    assert PEER not in oplog.marks(log, ME)
    oplog.take(log, ME, [row(PEER, 1), row(PEER, 3, TWO)], {}, 2.0)
    assert oplog.marks(log, ME)[PEER] == LogPlace(7, 3)
    oplog.take(log, ME, [row(PEER, 2, TWO), row(PEER, 4)], {PEER: LogPlace(7, 3)}, 2.0)
    keys = log.execute("SELECT key_id, sequence FROM oplog ORDER BY sequence").fetchall()
    assert keys == [("two", 3), ("one", 4)], "what had a number before is not counted again"
    assert oplog.marks(log, ME)[PEER] == LogPlace(7, 4)


def test_each_life_has_an_epoch_above_the_last_and_knows_those_that_it_had(
    log: sqlite3.Connection,
) -> None:
    oplog.log(log, ME, [ONE, TWO], 1.0)
    first = own(log)
    life(log, 3)
    assert own(log) == first, "nothing was changed since"
    oplog.log(log, ME, [ONE], 1.0)
    second = own(log)
    assert second.epoch > first.epoch and second.sequence == 1
    assert oplog.has(log, first) and oplog.has(log, second) and oplog.has(log, oplog.START)
    for lost in (
        LogPlace(first.epoch, first.sequence + 1),
        LogPlace(second.epoch, 2),
        LogPlace(second.epoch + 1, 1),
    ):
        assert not oplog.has(log, lost)


def test_two_lives_from_one_disk_have_no_place_in_common(log: sqlite3.Connection) -> None:
    places = []
    for drawn in (11, 12):
        with closing(in_memory()) as copy:
            log.backup(copy)
            life(copy, drawn)
            oplog.log(copy, ME, [ONE], 1.0)
            places.append(own(copy))

    assert places[0] != places[1]


def test_a_life_that_is_known_to_be_lost_is_found_once(log: sqlite3.Connection) -> None:
    log.execute("INSERT INTO keys VALUES ('one', 'kms-1', 1)")
    lost = LogPlace(own_epoch(log) + 9, 4)
    assert not oplog.has(log, lost)
    oplog.begin_epoch(log, ME, lost, 1.0, 8)
    assert own(log).epoch > lost.epoch, "above all that anybody has heard"
    assert oplog.has(log, lost) and oplog.has(log, LogPlace(lost.epoch, 40))
    assert all(peer.everything for peer in oplog.peers(log))


def own_epoch(connection: sqlite3.Connection) -> int:
    return oplog._epoch(connection)


def test_the_end_of_a_peer_that_does_not_know_its_age_is_not_taken(log: sqlite3.Connection) -> None:
    known, now = TrailEnd(9, b"k" * 32), TrailEnd(4, b"n" * 32)
    oplog.record_peer(log, PEER, {}, known)
    oplog.record_peer(log, PEER, {}, None)
    assert oplog.peers(log)[0].seen == known
    oplog.record_peer(log, PEER, {}, now)
    assert oplog.peers(log)[0].seen == now


@pytest.mark.parametrize(
    ("seen", "checked", "looked"),
    [
        (EMPTY, (-1, EMPTY.digest), False),
        (EMPTY, EMPTY, True),
        (TrailEnd(4, b"n" * 32), (4, b"n" * 32), True),
        (TrailEnd(4, b"n" * 32), (4, b"k" * 32), False),
    ],
)
def test_a_life_has_looked_only_for_what_it_was_told(
    log: sqlite3.Connection, seen: TrailEnd, checked: tuple[int, bytes], looked: bool
) -> None:
    """Also when the end of its trail is not known here: else it had heard of nothing at all."""
    oplog.record_peer(log, PEER, {}, seen)
    said = m.Standing(
        marks=(),
        seen_sequence=0,
        seen_digest=EMPTY.digest,
        end_sequence=0,
        end_digest=EMPTY.digest,
        checked_sequence=checked[0],
        checked_digest=checked[1],
    )
    assert standing.looked(log, PEER, said) is looked


class NoVault:
    """For what asks for no total."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(name)


@pytest.mark.parametrize("trusted", [False, True])
def test_the_end_is_kept_of_a_peer_that_is_trusted_alone(
    log: sqlite3.Connection, trusted: bool
) -> None:
    """The end that is known is what one that was put back shall find its loss by."""
    known, now = TrailEnd(9, b"k" * 32), TrailEnd(4, b"n" * 32)
    oplog.record_peer(log, PEER, {}, known)
    said = m.Standing(
        marks=(),
        seen_sequence=0,
        seen_digest=EMPTY.digest,
        end_sequence=now.sequence,
        end_digest=now.digest,
        checked_sequence=0,
        checked_digest=EMPTY.digest,
    )
    vault = cast(Vault, NoVault())
    heard = standing.record_standing(
        log, vault, ME, PEER, said, 1.0, drawn=3, trusted=trusted, compare=False
    )
    assert heard.intact
    assert oplog.peers(log)[0].seen == (now if trusted else known)


NONE = NodeName("kms-0")


@pytest.mark.parametrize(
    ("heard", "news"),
    [
        (Active(THIRD, 1, 9.0), False),
        (Active(THIRD, 1, 11.0), True),
        (Active(THIRD, 7, 9.0), False),
        (Active(THIRD, 2, 10.0), True),
        (Active(THIRD, 1, 10.0), False),
        (Active(NONE, 1, 10.0), True),
        (Active(PEER, 1, 10.0), False),
        (Active(None, 9, 99.0), False),
    ],
)
def test_which_appointment_counts(log: sqlite3.Connection, heard: Active, news: bool) -> None:
    log.execute("INSERT INTO active VALUES (1, 'kms-2', 1)")
    log.execute("UPDATE appointed SET at = 10.0")
    assert oplog.record_active(log, heard) is news
    assert oplog.active(log) == (heard if news else Active(PEER, 1, 10.0))


def test_the_database_of_before_appointments_had_stamps(log: sqlite3.Connection) -> None:
    log.execute("DROP TABLE appointed")
    log.execute("INSERT INTO active VALUES (1, 'kms-2', 3)")
    for drawn in (6, 7):
        life(log, drawn)
    assert oplog.active(log) == Active(PEER, 3, 0.0)
    assert oplog.appoint(log, THIRD, 5.0) == Active(THIRD, 4, 5.0) == oplog.active(log)
