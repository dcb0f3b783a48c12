"""A message of items, of which each has an outcome: Continue, Stop and Undo (KMIP 1.4 6.13)."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest

from protocol.attributes import Attribute
from protocol.errors import InvalidField, InvalidMessage, ItemNotFound, PermissionDenied
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.objects.request_checks import ITEMS_LIMIT
from services.kms.objects.request_types import (
    ActivateObject,
    AddObjectAttribute,
    Create,
    Created,
    DestroyObject,
    DiscoverServerVersions,
    Get,
    Got,
    LocateObjects,
    QueryAuditTrail,
    Register,
    RevokeObject,
    Versions,
)
from services.kms.operations import batches
from services.kms.operations.batches import Continuation, Item
from services.kms.settings.config import KmsRole
from tests.services.kms.core_rig import do, items, made, trail, value, values
from tests.services.kms.ports import CONFIG, VCENTER, Server

CLIENT = caller_at(CONFIG, VCENTER.node, local=False)
OPERATOR = KeyServerCaller("op", KmsRole.OPERATOR, "default")
STEPS = Continuation.STOP
X = Attribute(name="x-a", value="1")


def outcome(item: Item) -> str:
    if item.undone:
        return "undone"
    return "ok" if item.error is None else type(item.error).__name__


async def batch(server: Server, option: Continuation) -> tuple[KeyId, tuple[Item, ...]]:
    """One that succeeds, one that is refused, one that would succeed."""
    key_id = await made(server)
    return key_id, await items(
        server,
        AddObjectAttribute(unique_identifier=key_id, attribute=X),
        Create(length=99),
        ActivateObject(unique_identifier=key_id),
        option=option,
    )


@pytest.mark.parametrize(
    ("option", "outcomes", "added", "state"),
    [
        (Continuation.CONTINUE, ["ok", "InvalidField", "ok"], True, "Active"),
        (Continuation.STOP, ["ok", "InvalidField"], True, "Pre-Active"),
        (Continuation.UNDO, ["undone", "InvalidField"], False, "Pre-Active"),
    ],
)
async def test_what_a_refusal_means_for_the_others(
    server: Server, option: Continuation, outcomes: list[str], added: bool, state: str
) -> None:
    commits = server.database.commits
    key_id, done = await batch(server, option)
    assert [outcome(item) for item in done] == outcomes
    assert server.database.commits == commits + 2  # the key, and one for all of the message
    await server.boot()
    assert bool(await values(server, key_id, "x-a")) is added
    assert await value(server, key_id, "State") == state
    written = [row for row in await trail(server) if row[1] != key_id]
    assert written == [("Create", "", "Invalid Field")]


async def test_each_create_has_its_own_key_whatever_is_refused_between(server: Server) -> None:
    material = KeyMaterial(bytes(range(32)))
    done = await items(
        server,
        Create(),
        Create(length=1),
        Register(material=material),
        Get(),
        Create(),
        Get(),
        option=Continuation.CONTINUE,
    )
    assert [outcome(item) for item in done] == ["ok", "InvalidField", "ok", "ok", "ok", "ok"]
    made_ = [item.response.unique_identifier for item in done if isinstance(item.response, Created)]
    got = [item.response.keys[0] for item in done if isinstance(item.response, Got)]
    assert len(set(made_)) == 3
    assert [key.unique_identifier for key in got] == made_[1:]
    assert got[0].material == material != got[1].material


async def test_a_role_is_judged_item_by_item(server: Server) -> None:
    """What a client may not do takes no key from the next Create."""
    done = await items(
        server,
        Register(material=KeyMaterial(bytes(32))),
        Create(),
        Get(),
        DestroyObject(),
        caller=CLIENT,
        option=Continuation.CONTINUE,
    )
    assert [outcome(item) for item in done] == ["PermissionDenied", "ok", "ok", "PermissionDenied"]
    assert isinstance(done[2].response, Got)
    assert done[2].response.keys[0].material != KeyMaterial(bytes(32))
    written = [(operation, result) for operation, _, result in await trail(server)]
    assert written == [
        ("Register", "Permission Denied"),
        ("Create", "Success"),
        ("Get", "Success"),
        ("Destroy", "Permission Denied"),
    ]
    await server.boot()


@pytest.mark.parametrize(
    "request_", [ActivateObject(), DestroyObject(), RevokeObject(), Get()], ids=repr
)
async def test_no_placeholder_is_item_not_found(server: Server, request_: Any) -> None:
    [done] = await items(server, request_)
    assert isinstance(done.error, ItemNotFound)


async def test_an_undone_create_leaves_no_placeholder_and_no_key(server: Server) -> None:
    done = await items(server, Create(attributes=(X,)), Create(length=1), option=Continuation.UNDO)
    assert [outcome(item) for item in done] == ["undone", "InvalidField"]
    assert (await do(server, LocateObjects())).total == 0
    await server.boot()


async def test_the_trail_says_which_key_the_placeholder_was(server: Server) -> None:
    key_id = await made(server)
    for option in (Continuation.CONTINUE, Continuation.STOP):
        _, refused = await items(server, LocateObjects(), RevokeObject(), option=option)
        assert outcome(refused) == "PermissionDenied"
    assert (await trail(server))[-2:] == [("Revoke", key_id, "Permission Denied")] * 2


async def test_a_message_has_so_many_items_at_most(server: Server) -> None:
    """What each of them costs grows with those before it, and others wait meanwhile."""
    message = [Create()] * (ITEMS_LIMIT + 1)
    with pytest.raises(InvalidMessage):
        await items(server, *message)
    assert (await do(server, LocateObjects())).total == 0
    assert len(await items(server, *message[1:])) == ITEMS_LIMIT


@pytest.fixture
def three(monkeypatch: pytest.MonkeyPatch) -> int:
    """Items of a portion."""
    monkeypatch.setattr(batches, "ITEMS", 3)
    return 3


@pytest.mark.parametrize(
    ("option", "outcomes", "commits"),
    [
        (Continuation.CONTINUE, ["ok"] * 4 + ["InvalidField"] + ["ok"] * 3, 3),
        (Continuation.STOP, ["ok"] * 4 + ["InvalidField"], 2),
        (Continuation.UNDO, ["undone"] * 4 + ["InvalidField"], 1),
    ],
)
async def test_a_long_message_is_done_in_portions_unless_it_is_one_whole(
    server: Server, three: int, option: Continuation, outcomes: list[str], commits: int
) -> None:
    message = [Create() for _ in range(8)]
    message[4] = Create(length=1)
    before = server.database.commits
    done = await items(server, *message, option=option)
    assert [outcome(item) for item in done] == outcomes
    assert server.database.commits == before + commits
    ids = [one.response.unique_identifier for one in done if isinstance(one.response, Created)]
    assert (await do(server, LocateObjects())).unique_identifiers == tuple(ids)
    await server.boot()
    results = [result for _, _, result in await trail(server)]
    assert results == ["Success"] * len(ids[:4]) + ["Invalid Field"] + ["Success"] * len(ids[4:])


async def test_the_placeholder_outlasts_a_portion_and_its_key_is_no_other(
    server: Server, three: int
) -> None:
    other = await made(server)
    looks = [Get(unique_identifiers=(other,))] * 6
    done = await items(
        server, Create(), *looks, Get(), ActivateObject(), Create(length=1), option=STEPS
    )
    created = done[0].response
    assert isinstance(created, Created)
    [got] = [item.response.keys[0] for item in done[7:8] if isinstance(item.response, Got)]
    assert got.unique_identifier == created.unique_identifier
    assert [outcome(item) for item in done[7:]] == ["ok", "ok", "InvalidField"]
    assert await value(server, created.unique_identifier, "State") == "Active"
    assert await value(server, other, "State") == "Pre-Active"


async def test_what_means_the_placeholder_is_done_with_what_it_means(
    server: Server, three: int
) -> None:
    """No other message comes between a Create and what is done to its key."""
    before = server.database.commits
    message = [Create(), Create(), Create(), ActivateObject(), Get(), Create(), ActivateObject()]
    done = await items(server, *message)
    assert [outcome(item) for item in done] == ["ok"] * 7
    assert server.database.commits == before + 2


@pytest.mark.parametrize(
    ("option", "outcomes"),
    [
        (Continuation.CONTINUE, ["ok"] * 3 + ["GeneralFailure"] * 3 + ["ok"]),
        (Continuation.STOP, ["ok"] * 3 + ["GeneralFailure"]),
    ],
)
async def test_a_disk_that_takes_a_portion_and_not_the_next_is_told_item_by_item(
    server: Server, three: int, option: Continuation, outcomes: list[str]
) -> None:
    right, calls = server.database.transact, list[int]()

    async def refuse(*given: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        return await right(*given)

    server.database.transact = refuse  # type: ignore[method-assign,assignment]
    done = await items(server, *[Create()] * 7, option=option)
    assert [outcome(item) for item in done] == outcomes
    server.database.transact = right  # type: ignore[method-assign]
    assert (await do(server, LocateObjects())).total == outcomes.count("ok")


async def test_others_are_answered_between_two_portions(server: Server, three: int) -> None:
    order: list[str] = []

    async def one() -> None:
        await made(server)
        order.append("one")

    async def many() -> None:
        await items(server, *[Create()] * 9)
        order.append("many")

    await asyncio.gather(many(), one())
    assert order == ["one", "many"]


async def test_the_trail_is_no_item_of_a_portion_of_one(server: Server, three: int) -> None:
    done = await items(server, *[Create()] * 3, QueryAuditTrail(), caller=OPERATOR)
    assert [outcome(item) for item in done] == ["ok"] * 3 + ["InvalidField"]


async def test_versions_touch_no_store(server: Server) -> None:
    [done] = await items(server, DiscoverServerVersions(), caller=CLIENT)
    assert isinstance(done.response, Versions) and done.response.versions[0] == "1.4"


async def test_the_trail_is_read_alone(server: Server) -> None:
    done = await items(server, Create(), QueryAuditTrail(), caller=OPERATOR)
    assert isinstance(done[1].error, InvalidField)


@pytest.mark.parametrize(
    "steps",
    [
        (ActivateObject, ActivateObject),
        (DestroyObject, DestroyObject),
        (ActivateObject, DestroyObject),
        (ActivateObject, RevokeObject, RevokeObject),
        (RevokeObject,),
        (DestroyObject, ActivateObject),
    ],
    ids=str,
)
async def test_to_kmip_a_step_that_leads_nowhere_is_denied(
    server: Server, steps: tuple[Any, ...]
) -> None:
    """KMIP below 2.0 has Permission Denied for it, also when the state is there already."""
    key_id = await made(server)
    *first, last = steps
    for step in first:
        await do(server, step(unique_identifier=key_id))
    with pytest.raises(PermissionDenied):
        await do(server, last(unique_identifier=key_id))
    assert await value(server, key_id, "State") in list(KmipState)
