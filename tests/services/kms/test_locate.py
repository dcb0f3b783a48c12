"""Locate: what is found by what, in the store and in a message's own drafts, by an index."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.attributes import Attribute, ObjectDigest, ObjectName, RandomNumberGenerator, Value
from protocol.errors import InvalidField, ItemNotFound
from protocol.terms import KeyId, KmipState
from services.kms.objects import attributes, key_row, search
from services.kms.objects import request_types as r
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.search import Sought
from services.kms.operations.batches import Continuation
from tests.services.kms.core_rig import STRANGER, do, items, made, named, value
from tests.services.kms.memory import in_memory
from tests.services.kms.ports import LOCAL, Server


def wanted(name: str, value: Value) -> Attribute:
    return Attribute(name=name, value=value)


async def found(server: Server, *asked: Attribute, **more: Any) -> list[KeyId]:
    located = await do(server, r.LocateObjects(attributes=asked, **more))
    return list(located.unique_identifiers)


async def test_by_each_attribute(server: Server) -> None:
    first = await made(server, named("a"), wanted("Object Group", "g"), wanted("x-a", "1"))
    server.clock.wall += 10
    later = r.Create(length=128, usage_mask=4, attributes=(named("b"), wanted("x-a", "1")))
    second = (await do(server, later)).unique_identifier
    await do(server, r.ActivateObject(unique_identifier=second))
    digest = await value(server, first, "Digest")
    assert isinstance(digest, ObjectDigest)
    for asked, expected in [
        ((), [first, second]),
        ((named("a"),), [first]),
        ((named("c"),), []),
        ((wanted("Name", ObjectName(value="a", type="URI")),), []),
        ((wanted("Object Group", "g"),), [first]),
        ((wanted("x-a", "1"),), [first, second]),
        ((wanted("x-a", 1),), []),
        ((wanted("x-a", "1"), named("b")), [second]),
        ((wanted("x-a", "1"), wanted("x-a", "2")), []),
        ((wanted("State", "Active"),), [second]),
        ((wanted("State", KmipState.PRE_ACTIVE),), [first]),
        ((wanted("Object Type", "Symmetric Key"),), [first, second]),
        ((wanted("Object Type", "Certificate"),), []),
        ((wanted("Cryptographic Algorithm", "AES"),), [first, second]),
        ((wanted("Cryptographic Algorithm", "3DES"),), []),
        ((wanted("Cryptographic Length", 128),), [second]),
        ((wanted("Cryptographic Usage Mask", 4),), [first, second]),
        ((wanted("Cryptographic Usage Mask", 12),), [first]),
        ((wanted("Unique Identifier", second),), [second]),
        ((wanted("Digest", digest),), [first]),
        ((wanted("Initial Date", server.clock.wall),), [second]),
        (
            (wanted("Initial Date", server.clock.wall - 10), wanted("Initial Date", 9e9)),
            [first, second],
        ),
        ((wanted("Activation Date", server.clock.wall),), [second]),
        ((wanted("Destroy Date", 1.0), wanted("Destroy Date", 9e9)), []),
        ((wanted("nonsense", "1"),), []),
    ]:
        assert await found(server, *asked) == expected, asked
        assert await do(server, r.LocateObjects(attributes=asked), STRANGER) == await do(
            server, r.LocateObjects(attributes=(wanted("x-none", "1"),)), STRANGER
        )


@pytest.mark.parametrize("name", ["Process Start Date", "Protect Stop Date"])
async def test_dates_that_are_attributes_are_found_as_ranges(server: Server, name: str) -> None:
    keys = [await made(server, wanted(name, date)) for date in (0.0, 255.5, 256.0, 5e9)]
    assert await found(server, wanted(name, 255.5)) == [keys[1]]
    assert await found(server, wanted(name, 256)) == [keys[2]]
    assert await found(server, wanted(name, 5e9), wanted(name, 255.5)) == keys[1:]
    assert await found(server, wanted(name, 0), wanted(name, 255.9)) == keys[:2]


@pytest.mark.parametrize(
    "asked",
    [
        (wanted("State", "Lost"),),
        (wanted("Initial Date", "today"),),
        (wanted("Initial Date", -1.0),),
        (wanted("Initial Date", 1.0),) * 3,
        (wanted("Cryptographic Usage Mask", "Encrypt"),),
    ],
    ids=str,
)
async def test_what_no_key_can_be_asked(server: Server, asked: Sequence[Attribute]) -> None:
    with pytest.raises(InvalidField):
        await found(server, *asked)


@pytest.mark.parametrize("value", [ObjectName(value="a"), 2**64 - 1, True, 1.5], ids=str)
@pytest.mark.parametrize(
    "name", ["Unique Identifier", "Cryptographic Algorithm", "Digest", "Object Type", "Name"]
)
async def test_a_value_of_another_type_is_found_at_no_key(
    server: Server, name: str, value: Value
) -> None:
    await made(server)
    assert await found(server, wanted(name, value)) == []


async def test_a_key_is_found_by_the_last_change_that_is_told_of_it(server: Server) -> None:
    """A date that has come has changed it, though nothing was written."""
    key_id = await made(server, wanted("Activation Date", server.clock.wall + 5))
    server.clock.wall += 10
    changed = await value(server, key_id, "Last Change Date")
    assert changed is not None and changed == server.clock.wall - 5
    assert await found(server, wanted("Last Change Date", changed)) == [key_id]


async def test_who_asks_for_one_of_many_goes_on_with_it(server: Server) -> None:
    """KMIP 1.4 section 4.9: many empty the ID Placeholder, unless Maximum Items is 1."""
    first, _ = await made(server), await made(server)
    for limit, goes_on in ((1, True), (2, False), (1000, False)):
        _, next_one = await items(server, r.LocateObjects(maximum_items=limit), r.Get())
        assert (next_one.error is None) is goes_on, limit
        if isinstance(next_one.response, r.Got):
            assert next_one.response.keys[0].unique_identifier == first


async def test_the_index_follows_what_changes(server: Server) -> None:
    key_id = await made(server, wanted("x-a", "1"))
    add = r.AddObjectAttribute(unique_identifier=key_id, attribute=wanted("x-a", "2"))
    await do(server, add)
    assert await found(server, wanted("x-a", "1"), wanted("x-a", "2")) == [key_id]
    await do(server, r.DeleteObjectAttribute(unique_identifier=key_id, name="x-a"))
    assert await found(server, wanted("x-a", "1")) == []
    assert await found(server, wanted("x-a", "2")) == [key_id]


async def test_pages(server: Server) -> None:
    keys = [await made(server, wanted("x-a", "1")) for _ in range(5)]
    asked = (wanted("x-a", "1"),)
    page = await do(server, r.LocateObjects(attributes=asked, maximum_items=2))
    assert (list(page.unique_identifiers), page.total) == (keys[:2], 5)
    page = await do(server, r.LocateObjects(attributes=asked, maximum_items=2, after=keys[3]))
    assert (list(page.unique_identifiers), page.total) == (keys[4:], 5)


async def test_a_batch_finds_what_it_has_just_made(server: Server) -> None:
    """OASIS TC-314: Locate sets the ID Placeholder when it finds one object."""
    old = await made(server, named("a"))
    create = r.Create(attributes=(named("b"), wanted("x-a", "1")))
    results = await items(server, create, r.LocateObjects(attributes=(named("b"),)), r.Get())
    assert isinstance(results[2].response, r.Got)
    [got] = results[2].response.keys
    new = results[0].response.unique_identifier  # type: ignore[union-attr]
    assert got.unique_identifier == new != old and got.material is not None
    results = await items(server, r.LocateObjects(attributes=(named("a"),)), r.ActivateObject())
    assert await value(server, old, "State") == "Active"
    for nothing in ((named("c"),), ()):  # none, or two
        _, refused = await items(server, r.LocateObjects(attributes=nothing), r.Get())
        assert isinstance(refused.error, ItemNotFound)


async def test_a_batch_finds_what_it_has_changed(server: Server) -> None:
    keys = [await made(server, wanted("x-a", "1")) for _ in range(3)]
    batch = (
        r.AddObjectAttribute(unique_identifier=keys[1], attribute=wanted("x-b", "1")),
        r.DeleteObjectAttribute(unique_identifier=keys[0], name="x-a"),
        r.Create(attributes=(wanted("x-a", "1"),)),
        r.LocateObjects(attributes=(wanted("x-a", "1"),)),
        r.LocateObjects(attributes=(wanted("x-b", "1"),)),
        r.LocateObjects(attributes=(wanted("x-a", "1"),), maximum_items=1),
    )
    results = await items(server, *batch, option=Continuation.UNDO)
    new = results[2].response.unique_identifier  # type: ignore[union-attr]
    located = [item.response for item in results[3:]]
    assert [(list(one.unique_identifiers), one.total) for one in located] == [  # type: ignore[union-attr]
        ([keys[1], keys[2], new], 3),
        ([keys[1]], 1),
        ([keys[1]], 3),
    ]


GENERATOR = RandomNumberGenerator(rng_algorithm="DRBG", drbg_algorithm="CTR")
RAW_DIGEST = ObjectDigest(digest=b"raw")
STRUCTURE_DIGEST = ObjectDigest(digest=b"structure", format="TransparentSymmetricKey")
ASKED = st.one_of(
    st.builds(wanted, st.just("State"), st.sampled_from([state.value for state in KmipState])),
    st.builds(
        wanted,
        st.sampled_from(
            ["Activation Date", "Deactivation Date", "Process Start Date", "Last Change Date"]
        ),
        st.sampled_from([0.0, 5.0, 10.0, 15.0]),
    ),
    st.builds(wanted, st.just("Cryptographic Usage Mask"), st.integers(0, 15)),
    st.builds(wanted, st.just("Cryptographic Length"), st.sampled_from([128, 256])),
    st.builds(wanted, st.sampled_from(["x-a", "x-b"]), st.sampled_from(["1", "2"])),
    st.builds(wanted, st.just(key_row.FRESH), st.sampled_from([True, False, "1"])),
    st.builds(wanted, st.just(key_row.MADE), st.sampled_from([0.0, 1.0, 5.0])),
    st.builds(
        wanted, st.just(key_row.GENERATOR), st.sampled_from([key_row.OWN_GENERATOR, GENERATOR])
    ),
    st.builds(wanted, st.sampled_from([*key_row.BY_DEFAULT]), st.sampled_from([True, False])),
    st.builds(wanted, st.just(key_row.LEASE), st.sampled_from([key_row.LEASE_S, 1])),
    st.builds(wanted, st.just("Digest"), st.sampled_from([RAW_DIGEST, STRUCTURE_DIGEST, "1"])),
)
DATES = st.one_of(st.none(), st.sampled_from([5.0, 10.0, 15.0]))


@st.composite
def rows(draw: st.DrawFn) -> StoredKeyRow:
    number = draw(st.integers(1, 10**9))
    row = StoredKeyRow(
        KeyId(str(number)),
        draw(st.sampled_from(["default", "b"])),
        str(number),
        LOCAL.node,
        "AES",
        draw(st.sampled_from([128, 256])),
        draw(st.integers(0, 15)),
        draw(st.sampled_from(KmipState)),
        1.0,
        draw(DATES),
        draw(DATES),
        None,
        None,
        1.0,
        None,
        1,
        draw(st.sampled_from([b"", b"raw"])),
    )
    held_by_name: dict[str, st.SearchStrategy[Value | None]] = {
        "x-a": st.sampled_from([None, "1", "2"]),
        "x-b": st.sampled_from([None, "1", "2"]),
        "Process Start Date": DATES,
        key_row.FRESH: st.sampled_from([None, True]),
        key_row.MADE: st.sampled_from([None, "", 5.0]),
        "Digest": st.sampled_from([None, STRUCTURE_DIGEST]),
        key_row.GENERATOR: st.sampled_from([None, GENERATOR, key_row.OWN_GENERATOR]),
        **{
            name: st.sampled_from([None, not usual])
            for name, usual in key_row.BY_DEFAULT.items()
            if name != key_row.FRESH
        },
    }
    for name, kinds in held_by_name.items():
        held = draw(kinds)
        if held is not None:
            row = attributes.stamp(row, name, ((0, held),), 1.0, "kms")
    return row


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.lists(rows(), max_size=6, unique_by=lambda row: row.key_id), st.lists(ASKED, max_size=3))
def test_the_store_finds_what_matches(there: list[StoredKeyRow], asked: list[Attribute]) -> None:
    """SQL and the plain reading of the rules agree, with states that dates change too."""

    from services.kms.commit import store
    from services.kms.sealing.vault import Vault, new_ring

    try:
        search.check(asked)
    except InvalidField:
        return
    database, vault = in_memory(), Vault(new_ring(0.0, bytes(32), bytes(32)))
    for statement in store.SCHEMA:
        database.execute(statement)
    for row in there:
        store.insert(database, vault, row)
    for scope, destroyed in product(("default", None), (True, False)):
        sought = Sought(scope, tuple(asked), 10.0, destroyed)
        matching = [row.key_id for row in there if search.matches(row, sought)]
        assert search.find_matching(database, sought, 0, 10) == (tuple(matching), len(matching))
    database.close()


async def test_an_attribute_is_found_by_its_index(server: Server) -> None:
    """The plan takes few from the index of attributes, and each key by its id: it scans nothing."""
    await made(server, named("a"))
    where, given_ = search.statement(Sought("default", (named("a"),), 1.0))
    plan = server.platter.sql(
        f"EXPLAIN QUERY PLAN SELECT key_id {where} AND ordinal > 0 ORDER BY ordinal LIMIT 9",
        *given_,
    )
    assert [str(row[3]) for row in plan] == [
        "SEARCH attribute_index USING PRIMARY KEY (name=? AND value=?)",
        "SEARCH keys USING INDEX sqlite_autoindex_keys_1 (key_id=? AND rowid>?)",
        "USE TEMP B-TREE FOR ORDER BY",
    ]
