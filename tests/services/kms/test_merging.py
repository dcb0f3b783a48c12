"""Two servers' rows of one key become one: by tables, and whichever of the two hears first."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import msgspec
import pytest

from protocol.attributes import Attribute, UsageLimitsValue
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import AuditTrail
from services.kms.commit.unit_of_work import Work
from services.kms.custody.opening import SCHEMA
from services.kms.objects.attributes import (
    LIMITS,
    add_attribute,
    delete_attribute,
    modify_attribute,
    single,
    stamp,
)
from services.kms.objects.key_row import StoredKeyRow, has_material
from services.kms.replication import pair_state
from services.kms.replication.key_merge import KeyReplica, merge, take
from services.kms.sealing.vault import Vault, new_ring
from services.kms.settings.config import KmsRole
from tests.services.kms.memory import in_memory

DATES = ("activation_date", "deactivation_date", "compromise_date", "destroy_date")
ROW = StoredKeyRow(
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


def other(**changes: object) -> StoredKeyRow:
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


def written(row: StoredKeyRow, at: float, by: str, *given: tuple[str, float | str]) -> StoredKeyRow:
    """The row after a client of server ``by`` has set these, each attribute's first instance."""
    for name, value in given:
        attribute = Attribute(name=name, value=value)
        change = add_attribute if single(row, name) is None else modify_attribute
        row, _ = change(row, attribute, at, by)
    return msgspec.structs.replace(row, last_change_date=5.0)


PRE = msgspec.structs.replace(ROW, state=KmipState.PRE_ACTIVE)
BOTH = written(PRE, 1.0, "kms-1", ("x-a", "old"), ("x-b", "old"), ("Activation Date", 90.0))
MEETINGS: dict[str, tuple[StoredKeyRow, StoredKeyRow, dict[str, float | str | None]]] = {
    "each has another name": (
        written(BOTH, 2.0, "kms-1", ("x-a", "new")),
        written(BOTH, 3.0, "kms-2", ("x-b", "new"), ("x-c", "new")),
        {"x-a": "new", "x-b": "new", "x-c": "new", "Activation Date": 90.0},
    ),
    "the last writer of one name wins": (
        written(BOTH, 3.0, "kms-1", ("x-a", "late")),
        written(BOTH, 2.0, "kms-2", ("x-a", "early")),
        {"x-a": "late", "x-b": "old", "Activation Date": 90.0},
    ),
    "names of servers settle the same time": (
        written(BOTH, 2.0, "kms-1", ("x-a", "one")),
        written(BOTH, 2.0, "kms-2", ("x-a", "two")),
        {"x-a": "two", "x-b": "old", "Activation Date": 90.0},
    ),
    "who knew the other wins though its clock is behind": (
        BOTH,
        written(BOTH, 0.5, "kms-2", ("x-a", "knowing")),
        {"x-a": "knowing", "x-b": "old", "Activation Date": 90.0},
    ),
    "what is deleted stays so": (
        delete_attribute(BOTH, "x-a", 0, 2.0, "kms-1")[0],
        BOTH,
        {"x-a": None, "x-b": "old", "Activation Date": 90.0},
    ),
    "a date ahead is the last writer's, not the earliest": (
        written(BOTH, 2.0, "kms-1", ("Activation Date", 99.0)),
        BOTH,
        {"Activation Date": 99.0},
    ),
    "a date that somebody set beats none": (
        PRE,
        written(PRE, 2.0, "kms-1", ("Deactivation Date", 99.0)),
        {"Deactivation Date": 99.0},
    ),
    "what has happened beats what was planned": (
        written(BOTH, 9.0, "kms-1", ("Activation Date", 99.0)),
        msgspec.structs.replace(BOTH, state=KmipState.ACTIVE, activation_date=8.0),
        {"Activation Date": 8.0},
    ),
}


@pytest.mark.parametrize("name", MEETINGS)
def test_attributes_are_the_last_writers(name: str) -> None:
    one, other_, expected = MEETINGS[name]
    there = msgspec.structs.replace(other_, wrapped=b"wrapped there", changed=9)
    merged, mirrored = merge(one, there), merge(there, one)
    told = {"wrapped": None, "changed": 0}
    assert msgspec.structs.replace(merged, **told) == msgspec.structs.replace(mirrored, **told)
    assert {each: single(merged, each) for each in expected} == expected
    assert merge(merged, there) == merged


ROWS = [*(row for meeting in MEETINGS.values() for row in meeting[:2])]


@pytest.mark.parametrize("third", [0, 3, 6, 9, 15])
def test_it_does_not_matter_who_meets_whom_first(third: int) -> None:
    for one, other_ in product(ROWS, ROWS):
        left = merge(merge(one, other_), ROWS[third])
        assert left == merge(one, merge(other_, ROWS[third]))


@pytest.fixture
def work() -> Iterator[Work]:
    """One message of the peer at a server that has no key yet."""
    database = in_memory()
    for statement in SCHEMA:
        database.execute(statement)
    vault = Vault(new_ring(0.0, bytes(32), bytes(range(32))))
    audit_trail.begin(database, vault)
    peer = KeyServerCaller("kms-2", KmsRole.PEER, "", every_scope=True)
    trail = AuditTrail(database, vault)
    yield Work(database, vault, peer, 9.0, trail, server=NodeName("kms-1"), queue_changes=None)
    database.close()


@pytest.mark.parametrize("secret", [None, KeyMaterial(bytes(32))])
def test_a_key_that_is_new_here_is_kept_under_this_servers_own_wrapping(
    work: Work, secret: KeyMaterial | None
) -> None:
    """The peer's wrapping is nothing that could be opened here, and none is kept without a key."""
    state = KmipState.DESTROYED if secret is None else KmipState.ACTIVE
    assert take(work, KeyReplica(other(state=state), secret), bytes(12))
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
    for statement in pair_state.SCHEMA:
        work.connection.execute(statement)
    pair_state.begin(work.connection, peer)
    has = secret if has_material(mine) else None
    assert take(work, KeyReplica(other(state=mine), has), bytes(12))
    work.write()
    assert pair_state.view(work.connection).waiting == 0
    later = Work(
        work.connection,
        work.vault,
        work.caller,
        10.0,
        work.trail,
        server=work.server,
        queue_changes=pair_state.queue_changes,
    )
    assert take(later, KeyReplica(other(state=theirs), secret), bytes(12))
    later.write()
    assert pair_state.view(work.connection).waiting == told


def test_another_peer_has_seen_nothing(work: Work) -> None:
    for statement in pair_state.SCHEMA:
        work.connection.execute(statement)
    assert take(work, KeyReplica(other(), KeyMaterial(bytes(32))), bytes(12))
    end = work.write().end
    assert end is not None
    connection = work.connection
    for name in ("kms-2", "kms-3"):
        for waiting in (1, 0):  # the same one is told once, over all lives
            pair_state.begin(connection, NodeName(name))
            assert pair_state.view(connection).waiting == waiting
            assert pair_state.view(connection).seen == (end if not waiting else audit_trail.EMPTY)
            pair_state.confirm(connection, pair_state.first(connection, 9), end)


def test_what_each_server_has_given_of_the_limits_counts() -> None:
    limits = UsageLimitsValue(total=9, unit="Object")
    row, _ = add_attribute(ROW, Attribute(name=LIMITS, value=limits), 1.0, "a")

    def after(server: str, amount: int, at: float) -> StoredKeyRow:
        value = msgspec.structs.replace(limits, spent=((server, amount),))
        return stamp(row, LIMITS, ((0, value),), at, server)

    mine, theirs = after("a", 5, 2.0), after("b", 7, 3.0)
    both = merge(mine, theirs), merge(theirs, mine)
    assert both[0].attributes == both[1].attributes
    assert merge(both[0], theirs).attributes == both[0].attributes
    found = single(both[0], LIMITS)
    assert found == msgspec.structs.replace(limits, spent=(("a", 5), ("b", 7)))
    assert isinstance(found, UsageLimitsValue)
    assert found.left == 0
