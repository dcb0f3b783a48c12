"""Two servers' rows of one key become one: by tables, and whichever of the two hears first."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from itertools import product

import msgspec
import pytest

from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName
from services.kms import audit, replication, store
from services.kms.access import Caller
from services.kms.audit import Trail
from services.kms.config import KmsRole
from services.kms.keyrow import KeyRow
from services.kms.master import Vault
from services.kms.merging import Replica, merge, take
from services.kms.states import has_material
from services.kms.work import Work

DATES = ("activation_date", "deactivation_date", "compromise_date", "destroy_date")
ROW = KeyRow(
    key_id=KeyId("1"),
    scope="default",
    operation_id="op",
    origin=NodeName("kms-1"),
    algorithm="AES",
    length=256,
    usage_mask=12,
    state=KmipState.ACTIVE,
    initial_date=1.0,
    activation_date=None,
    deactivation_date=None,
    compromise_date=None,
    destroy_date=None,
    last_change_date=5.0,
    wrapped=b"wrapped here",
    changed=7,
)


def other(**changes: object) -> KeyRow:
    """The row as the peer has it: its own wrapping, and its own number of the trail."""
    return msgspec.structs.replace(ROW, wrapped=b"wrapped there", changed=9, **changes)


@pytest.mark.parametrize("name", DATES)
@pytest.mark.parametrize(
    ("mine", "theirs", "earliest"),
    [(None, None, None), (2.0, None, 2.0), (None, 3.0, 3.0), (2.0, 3.0, 2.0), (3.0, 2.0, 2.0)],
)
def test_each_date_is_the_earliest_that_either_has(
    name: str, mine: float | None, theirs: float | None, earliest: float | None
) -> None:
    merged = merge(msgspec.structs.replace(ROW, **{name: mine}), other(**{name: theirs}))
    assert merged == msgspec.structs.replace(ROW, **{name: earliest})


@pytest.mark.parametrize(("mine", "theirs"), [(5.0, 6.0), (6.0, 5.0)])
def test_the_last_change_is_the_later_one(mine: float, theirs: float) -> None:
    merged = merge(
        msgspec.structs.replace(ROW, last_change_date=mine), other(last_change_date=theirs)
    )
    assert merged == msgspec.structs.replace(ROW, last_change_date=6.0)


@pytest.mark.parametrize(("mine", "theirs"), list(product(KmipState, KmipState)))
def test_both_agree_and_keep_what_is_their_own(mine: KmipState, theirs: KmipState) -> None:
    here = msgspec.structs.replace(ROW, state=mine, destroy_date=4.0)
    there = other(state=theirs, compromise_date=3.0)
    merged, mirrored = merge(here, there), merge(there, here)
    assert merged.wrapped == (ROW.wrapped if has_material(merged.state) else None)
    assert (merged.changed, mirrored.changed) == (here.changed, there.changed)
    told = {"wrapped": None, "changed": 0}
    assert msgspec.structs.replace(merged, **told) == msgspec.structs.replace(mirrored, **told)
    assert merge(merged, mirrored) == merged


@pytest.fixture
def work() -> Iterator[Work]:
    """One message of the peer at a server that has no key yet."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    for statement in store.SCHEMA:
        database.execute(statement)
    vault = Vault(KeyMaterial(bytes(range(32))))
    audit.begin(database, vault)
    peer = Caller("kms-2", KmsRole.PEER, "", every_scope=True)
    yield Work(database, vault, peer, 9.0, Trail(database, vault))
    database.close()


@pytest.mark.parametrize("secret", [None, KeyMaterial(bytes(32))])
def test_a_key_that_is_new_here_is_kept_under_this_servers_own_wrapping(
    work: Work, secret: KeyMaterial | None
) -> None:
    """The peer's wrapping is nothing that could be opened here, and none is kept without a key."""
    state = KmipState.DESTROYED if secret is None else KmipState.ACTIVE
    assert take(work, Replica(other(state=state), secret), bytes(12))
    work.write()
    found = work.find(ROW.key_id)
    assert found is not None and found.state is state
    assert work.material(found) == secret
    assert (found.wrapped is None) is (secret is None) and found.wrapped != b"wrapped there"


@pytest.mark.parametrize(
    ("mine", "theirs", "told"),
    [
        (KmipState.ACTIVE, KmipState.ACTIVE, False),
        (KmipState.DEACTIVATED, KmipState.ACTIVE, True),
        (KmipState.ACTIVE, KmipState.DEACTIVATED, False),
        (KmipState.DESTROYED, KmipState.COMPROMISED, True),  # each knows something
    ],
)
def test_the_peer_is_told_of_what_it_does_not_know_and_of_nothing_else(
    work: Work, mine: KmipState, theirs: KmipState, told: bool
) -> None:
    peer, secret = NodeName("kms-2"), KeyMaterial(bytes(32))
    for statement in replication.SCHEMA:
        work.connection.execute(statement)
    replication.begin(work.connection, peer)
    has = secret if has_material(mine) else None
    assert take(work, Replica(other(state=mine), has), bytes(12))
    work.write()
    assert replication.view(work.connection).waiting == 0
    later = Work(work.connection, work.vault, work.caller, 10.0, work.trail)
    assert take(later, Replica(other(state=theirs), secret), bytes(12))
    later.write()
    assert replication.view(work.connection).waiting == told


def test_another_peer_has_seen_nothing(work: Work) -> None:
    for statement in replication.SCHEMA:
        work.connection.execute(statement)
    assert take(work, Replica(other(), KeyMaterial(bytes(32))), bytes(12))
    end = work.write().end
    assert end is not None
    connection = work.connection
    for name in ("kms-2", "kms-3"):
        for waiting in (1, 0):  # the same one is told once, over all lives
            replication.begin(connection, NodeName(name))
            assert replication.view(connection).waiting == waiting
            assert replication.view(connection).seen == (end if not waiting else audit.EMPTY)
            replication.confirm(connection, replication.first(connection, 9), end)
