"""What a server of a pair remembers of the other: what waits, and when the mark goes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator

import pytest

from protocol.terms import KeyId, NodeName
from services.kms.audit.audit_trail import EMPTY, TrailEnd
from services.kms.commit.unit_of_work import KeyChange
from services.kms.replication import pair_state
from services.kms.replication.pair_state import PeerView
from tests.services.kms.memory import in_memory

PEER = NodeName("kms-2")
FIRST, SECOND = KeyChange(KeyId("k1"), 1), KeyChange(KeyId("k2"), 2)
SEEN = TrailEnd(7, bytes(range(32)))


@pytest.fixture
def pair() -> Iterator[sqlite3.Connection]:
    """Two keys, a peer that has seen nothing."""
    made = in_memory()
    made.execute("CREATE TABLE keys (key_id TEXT PRIMARY KEY, changed INTEGER)")
    for statement in pair_state.SCHEMA:
        made.execute(statement)
    made.executemany("INSERT INTO keys VALUES (?, ?)", (FIRST, SECOND))
    pair_state.begin(made, PEER)
    yield made
    made.close()


def test_a_new_peer_waits_for_every_key(pair: sqlite3.Connection) -> None:
    assert pair_state.first(pair, 9) == (FIRST, SECOND)
    assert pair_state.first(pair, 1) == (FIRST,)
    assert pair_state.view(pair) == PeerView(None, "", EMPTY, 2)


def test_the_mark_goes_with_the_last_key_that_waits(pair: sqlite3.Connection) -> None:
    assert pair_state.mark_down(pair, 5.0, "silent")
    assert not pair_state.mark_down(pair, 6.0, "silent still"), "it was marked before"
    assert not pair_state.confirm(pair, [FIRST], SEEN)
    assert pair_state.view(pair) == PeerView(5.0, "silent", SEEN, 1)
    assert not pair_state.clear(pair), "an answer alone takes no mark away"
    assert pair_state.confirm(pair, [SECOND], SEEN)
    assert pair_state.view(pair) == PeerView(None, "", SEEN, 0)


def test_a_key_that_changed_again_waits_on(pair: sqlite3.Connection) -> None:
    again = KeyChange(KeyId("k1"), 3)
    assert pair_state.put(pair, [again])
    pair_state.confirm(pair, [FIRST, SECOND], SEEN)
    assert pair_state.first(pair, 9) == (again,)
