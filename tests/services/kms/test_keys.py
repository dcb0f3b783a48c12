"""Keys as a client sees them: creation and its repeats, crashes, limits, listing, tombstones."""

from __future__ import annotations

import errno
import uuid
from typing import Any

import pytest

from protocol.errors import GeneralFailure, InvalidField, ItemNotFound
from protocol.messages.base import Request
from protocol.messages.kms.keys import (
    Activate,
    CreateKey,
    Destroy,
    DiscoverVersions,
    GetAttributes,
    GetKeys,
    KeyAttributes,
    Locate,
    QueryAudit,
    Revoke,
)
from protocol.terms import KeyId, KmipState
from services.runtime.incarnation import NodeDown
from tests.services.kms.ports import LOCAL, OPERATOR, VCENTER, Server

NOBODY = KeyId("00000000-0000-4000-8000-000000000000")


async def attributes(server: Server, key_id: KeyId) -> KeyAttributes:
    listed = await server.ask(GetAttributes(key_ids=(key_id,)))
    return listed.keys[0]


async def audited(server: Server) -> list[tuple[str, str, str]]:
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    return [(row.operation, row.key_id, row.result) for row in rows]


async def test_create_is_pre_active(server: Server) -> None:
    created = await server.ask(CreateKey(operation_id="1"))
    assert created.state is KmipState.PRE_ACTIVE
    assert created.material is None
    assert uuid.UUID(created.key_id).version == 4
    assert await attributes(server, created.key_id) == KeyAttributes(
        key_id=created.key_id,
        state=KmipState.PRE_ACTIVE,
        algorithm="AES",
        length=256,
        usage_mask=12,
        initial_date=server.clock.wall,
        last_change_date=server.clock.wall,
    )


async def test_get_before_activate(server: Server) -> None:
    """vCenter gets a key first and activates it then; both give the same material."""
    created = await server.ask(CreateKey(operation_id="1"))
    before = await server.ask(GetKeys(key_ids=(created.key_id,)))
    await server.ask(Activate(key_id=created.key_id))
    after = await server.ask(GetKeys(key_ids=(created.key_id,)))
    assert before.material == after.material
    assert len(before.material.keys[0]) == 32
    assert [v.state for v in (*before.values, *after.values)] == [
        KmipState.PRE_ACTIVE,
        KmipState.ACTIVE,
    ]


async def test_create_activate_get_in_one_transaction(server: Server) -> None:
    before = server.database.commits
    created = await server.ask(CreateKey(operation_id="1", activate=True, get=True))
    assert server.database.commits == before + 1
    assert created.state is KmipState.ACTIVE
    key = await attributes(server, created.key_id)
    assert key.activation_date == server.clock.wall
    assert await audited(server) == [
        ("Create", created.key_id, "Success"),
        ("Activate", created.key_id, "Success"),
        ("Get", created.key_id, "Success"),
    ]
    assert created.material is not None
    got = await server.ask(GetKeys(key_ids=(created.key_id,)))
    assert got.material == created.material


async def test_keys_differ(server: Server) -> None:
    created = [await server.ask(CreateKey(operation_id=str(n), get=True)) for n in range(20)]
    assert len({c.key_id for c in created}) == 20
    assert len({c.material.keys[0].reveal() for c in created if c.material}) == 20


@pytest.mark.parametrize("get", [False, True])
@pytest.mark.parametrize("activate", [False, True])
async def test_repeat_is_the_same_key(server: Server, activate: bool, get: bool) -> None:
    message = CreateKey(operation_id="1", activate=activate, get=get)
    first = await server.ask(message)
    server.clock.wall += 100
    assert await server.ask(message) == first
    await server.boot()
    assert await server.ask(message) == first
    assert (await server.ask(Locate())).total == 1
    assert (await attributes(server, first.key_id)).initial_date == server.clock.wall - 100


async def test_repeat_tells_the_key_as_it_is_now(server: Server) -> None:
    """A repeat neither creates nor activates again, whatever has become of the key."""
    message = CreateKey(operation_id="1", activate=True, get=True)
    first = await server.ask(message)
    assert first.material is not None
    await server.ask(Revoke(key_id=first.key_id), OPERATOR)
    repeated = await server.ask(message)
    assert repeated.key_id == first.key_id
    assert repeated.state is KmipState.DEACTIVATED
    assert repeated.material == first.material
    await server.ask(Destroy(key_id=first.key_id), OPERATOR)
    repeated = await server.ask(message)
    assert repeated.key_id == first.key_id
    assert repeated.state is KmipState.DESTROYED
    assert repeated.material is None
    assert (await audited(server))[3:] == [
        ("Revoke", first.key_id, "Success"),
        ("Get", first.key_id, "Success"),
        ("Destroy", first.key_id, "Success"),
        ("Get", first.key_id, "Item Not Found"),
    ]


async def test_crash_between_commit_and_reply(server: Server) -> None:
    """The reply is never sent; the repeat in the next life gives the key that was made."""
    message = CreateKey(operation_id="1", activate=True, get=True)
    server.database.crash_at_commit = server.database.commits + 1
    with pytest.raises(NodeDown):
        await server.ask(message)
    made = server.platter.sql("SELECT key_id FROM keys")
    await server.boot()
    repeated = await server.ask(message)
    assert [(repeated.key_id,)] == made
    assert repeated.state is KmipState.ACTIVE
    got = await server.ask(GetKeys(key_ids=(repeated.key_id,)))
    assert got.material == repeated.material
    assert (await server.ask(Locate())).total == 1


async def test_full_disk_is_answered(server: Server) -> None:
    """One clear error, no key; when there is space again the repeat makes it."""
    page_count = server.platter.sql("PRAGMA page_count")[0][0]
    server.platter.sql(f"PRAGMA max_page_count = {page_count}")
    made = 0
    with pytest.raises(GeneralFailure, match="No space"):
        for made in range(1000):
            await server.ask(CreateKey(operation_id=str(made)))
    assert made > 0
    assert (await server.ask(Locate())).total == made
    server.platter.sql("PRAGMA max_page_count = 100000")
    await server.ask(CreateKey(operation_id=str(made)))
    await server.boot()
    assert (await server.ask(Locate())).total == made + 1


@pytest.mark.parametrize("message", [Locate(), GetAttributes(key_ids=()), QueryAudit()])
async def test_a_disk_that_cannot_be_read_is_answered(
    server: Server, message: Request[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(read: object, *, long: bool = False) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(server.database, "query", fails)
    with pytest.raises(GeneralFailure, match="storage refused: Input/output error"):
        await server.ask(message, LOCAL)


@pytest.mark.parametrize("message", ["activate", "revoke", "destroy"])
async def test_crash_between_commit_and_reply_of_a_step(server: Server, message: str) -> None:
    created = await server.ask(CreateKey(operation_id="1", activate=message == "revoke"))
    asked: dict[str, tuple[Request[Any], KmipState]] = {
        "activate": (Activate(key_id=created.key_id), KmipState.ACTIVE),
        "revoke": (Revoke(key_id=created.key_id), KmipState.DEACTIVATED),
        "destroy": (Destroy(key_id=created.key_id), KmipState.DESTROYED),
    }
    request, expected = asked[message]
    server.database.crash_at_commit = server.database.commits + 1
    with pytest.raises(NodeDown):
        await server.ask(request, OPERATOR)
    await server.boot()
    assert (await attributes(server, created.key_id)).state is expected
    assert (await server.ask(request, OPERATOR)).state is expected


async def test_tombstone(server: Server) -> None:
    """After Destroy attributes answer, Get does not, and a stranger to both is no key."""
    created = await server.ask(CreateKey(operation_id="1", get=True))
    await server.ask(Destroy(key_id=created.key_id), OPERATOR)
    await server.boot()
    key = await attributes(server, created.key_id)
    assert (key.state, key.destroy_date) == (KmipState.DESTROYED, server.clock.wall)
    got = await server.ask(GetKeys(key_ids=(created.key_id, NOBODY)))
    assert [(v.state, v.index) for v in got.values] == [(KmipState.DESTROYED, None), (None, None)]
    assert got.material.keys == ()
    assert (await server.ask(Locate())).key_ids == (created.key_id,)


async def test_get_keys_in_the_order_asked(server: Server) -> None:
    """Indices point into one sealed field; a key asked for twice is given twice."""
    made = [await server.ask(CreateKey(operation_id=str(n), get=True)) for n in range(3)]
    await server.ask(Destroy(key_id=made[1].key_id), OPERATOR)
    ids = [made[2].key_id, made[1].key_id, NOBODY, made[0].key_id, made[2].key_id]
    got = await server.ask(GetKeys(key_ids=tuple(ids)))
    assert [v.key_id for v in got.values] == ids
    assert [v.index for v in got.values] == [0, None, None, 1, 2]
    wanted = [m.material.keys[0] for m in (made[2], made[0], made[2]) if m.material]
    assert list(got.material.keys) == wanted


async def test_locate(server: Server) -> None:
    """In order of creation, in pages, by state; ``total`` counts all that match."""
    ids = [(await server.ask(CreateKey(operation_id=str(n)))).key_id for n in range(7)]
    assert ids != sorted(ids), "the order of creation must differ from that of the ids"
    for key_id in ids[::2]:
        await server.ask(Activate(key_id=key_id))
    pages, after = [], KeyId("")
    while page := (await server.ask(Locate(after=after, limit=3))).key_ids:
        pages.append(list(page))
        after = page[-1]
    assert pages == [ids[:3], ids[3:6], ids[6:]]
    active = await server.ask(Locate(state=KmipState.ACTIVE, limit=2))
    assert (list(active.key_ids), active.total) == (ids[:4:2], 4)
    rest = await server.ask(Locate(state=KmipState.ACTIVE, after=active.key_ids[-1]))
    assert (list(rest.key_ids), rest.total) == (ids[4::2], 4)
    with pytest.raises(ItemNotFound):
        await server.ask(Locate(after=NOBODY))


WRONG: list[Request[Any]] = [
    CreateKey(operation_id=""),
    CreateKey(operation_id="x" * 129),
    CreateKey(operation_id="1", algorithm="DES3"),
    CreateKey(operation_id="1", length=128),
    CreateKey(operation_id="1", usage_mask=4),
    Locate(limit=0),
    Locate(limit=1001),
]


@pytest.mark.parametrize("message", WRONG, ids=repr)
async def test_invalid_field(server: Server, message: Request[Any]) -> None:
    with pytest.raises(InvalidField):
        await server.ask(message)
    assert (await server.ask(Locate())).total == 0


@pytest.mark.parametrize(
    "message",
    [QueryAudit(limit=0), QueryAudit(limit=1001), QueryAudit(after=-1), QueryAudit(after=2**63)],
    ids=repr,
)
async def test_invalid_field_of_an_operator(server: Server, message: QueryAudit) -> None:
    with pytest.raises(InvalidField):
        await server.ask(message, OPERATOR)


async def test_limits_themselves_are_served(server: Server) -> None:
    created = await server.ask(CreateKey(operation_id="x" * 128))
    assert (await server.ask(Locate(limit=1000))).key_ids == (created.key_id,)
    assert (await server.ask(GetKeys(key_ids=()))).values == ()
    assert (await server.ask(GetAttributes(key_ids=()))).keys == ()


async def test_discover_versions_leaves_the_store_alone(server: Server) -> None:
    before = server.database.commits
    versions = (await server.ask(DiscoverVersions())).versions
    assert versions[0] == "1.4"
    assert "1.1" in versions
    assert server.database.commits == before


async def test_a_change_of_state_is_recorded(server: Server) -> None:
    created = await server.ask(CreateKey(operation_id="1", activate=True))
    await server.ask(Revoke(key_id=created.key_id), LOCAL)
    assert server.node.records == [
        (
            "kms.key_state",
            {"key_id": created.key_id, "state": "Deactivated", "who": "local/kms"},
        )
    ]
    assert VCENTER.node in {row.who for row in (await server.ask(QueryAudit(), LOCAL)).rows}
