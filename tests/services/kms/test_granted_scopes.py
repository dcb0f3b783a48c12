"""A key that was granted to another scope: who gets it then, and what else changes: nothing."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.attributes import GRANTED_SCOPE, Attribute
from protocol.errors import InvalidField, ItemNotFound, PermissionDenied, ProductError
from protocol.messages.base import Request
from protocol.messages.kms.keys import (
    Activate,
    AddAttribute,
    CreateKey,
    DeleteAttribute,
    Destroy,
    GetAttributes,
    GetKeyAttributes,
    GetKeys,
    Locate,
    ModifyAttribute,
    QueryAudit,
    Revoke,
)
from protocol.terms import KeyId, NodeName
from services.kms.settings.config import Grant, KmsConfig, KmsRole
from services.runtime.service import Peer
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, OTHER, STRANGER, VCENTER, Server

THIRD, KPS, HOST, OWNER = (Peer(NodeName(name), 1) for name in ("third", "kps", "host", "owner"))
IN_B = {KPS: KmsRole.KPS, HOST: KmsRole.VSAN, OWNER: KmsRole.OWNER}
"""Callers of the scope ``b``, as ``OTHER`` is one, in other roles."""


@pytest.fixture
async def shared(server: Server) -> tuple[Server, KeyId]:
    """A key of the scope of VCENTER, and nobody else's yet."""
    more = {peer.node: Grant(role=role, scope="b") for peer, role in IN_B.items()}
    third = {THIRD.node: Grant(scope="c")}
    server.config = KmsConfig(identities={**CONFIG.identities, **more, **third})
    await server.boot()
    made = await server.ask(CreateKey(operation_id="1", activate=True))
    return server, made.key_id


async def grant(server: Server, key: KeyId, by: Peer = VCENTER, scope: str = "b") -> None:
    await server.ask(AddAttribute(key_id=key, name=GRANTED_SCOPE, value=scope), by)


async def gets(server: Server, key: KeyId, peer: Peer) -> bool:
    got = await server.ask(GetKeys(key_ids=(key,)), peer)
    assert len(got.material.keys) == (got.values[0].index is not None)
    return got.values[0].index is not None


async def test_it_is_got_by_whoever_gets_keys_in_that_scope(shared: tuple[Server, KeyId]) -> None:
    server, key = shared
    for peer in (OTHER, KPS, HOST, OWNER, THIRD):
        assert not await gets(server, key, peer)
    await grant(server, key)
    for peer in (OTHER, KPS, HOST, OWNER):
        assert await gets(server, key, peer)
        assert [k.key_id for k in (await server.ask(GetAttributes(key_ids=(key,)), peer)).keys] == [
            key
        ]
    assert not await gets(server, key, THIRD)
    with pytest.raises(PermissionDenied):
        await server.ask(GetKeys(key_ids=(key,)), STRANGER)


async def test_other_keys_of_its_scope_stay_where_they_are(shared: tuple[Server, KeyId]) -> None:
    server, key = shared
    other = (await server.ask(CreateKey(operation_id="2", activate=True))).key_id
    await grant(server, key)
    assert not await gets(server, other, OTHER)
    assert (await server.ask(Locate(), OTHER)).key_ids == ()
    with pytest.raises(ItemNotFound):
        await server.ask(Locate(after=key), OTHER)
    repeated = await server.ask(CreateKey(operation_id="1", activate=True), OTHER)
    assert repeated.key_id not in (key, other)
    assert (await server.ask(Locate())).key_ids == (key, other), "its owner has it as before"


CHANGES: dict[str, Any] = {
    "activate": lambda key: Activate(key_id=key),
    "revoke": lambda key: Revoke(key_id=key),
    "destroy": lambda key: Destroy(key_id=key),
    "add": lambda key: AddAttribute(key_id=key, name="x-mine", value="1"),
    "modify": lambda key: ModifyAttribute(
        key_id=key, attribute=Attribute(name=GRANTED_SCOPE, value="c")
    ),
    "delete": lambda key: DeleteAttribute(key_id=key, name=GRANTED_SCOPE),
}


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("peer", [OTHER, OWNER, HOST, KPS])
async def test_who_was_granted_a_key_changes_nothing_of_it(
    shared: tuple[Server, KeyId], peer: Peer, change: str
) -> None:
    server, key = shared
    await grant(server, key)
    before = await server.ask(GetKeyAttributes(key_id=key), LOCAL)
    request: Request[Any] = CHANGES[change](key)
    with pytest.raises(PermissionDenied):
        await server.ask(request, peer)
    assert await server.ask(GetKeyAttributes(key_id=key), LOCAL) == before


@pytest.mark.parametrize(
    ("by", "may"),
    [(OTHER, True), (OWNER, True), (HOST, False), (KPS, False), (OPERATOR, True), (LOCAL, True)],
)
async def test_who_may_grant_it_on(shared: tuple[Server, KeyId], by: Peer, may: bool) -> None:
    """A VM moves on to a third vCenter. A host and a Key Provider Service read keys, no more."""
    server, key = shared
    await grant(server, key)
    try:
        await grant(server, key, by, "c")
    except ProductError as error:
        assert isinstance(error, PermissionDenied) and not may
    assert await gets(server, key, THIRD) is may


async def test_nobody_grants_what_it_does_not_see(shared: tuple[Server, KeyId]) -> None:
    server, key = shared
    with pytest.raises(ItemNotFound):
        await grant(server, key, OTHER)
    assert not await gets(server, key, OTHER)


async def test_a_grant_that_is_taken_back(shared: tuple[Server, KeyId]) -> None:
    server, key = shared
    await grant(server, key)
    await grant(server, key, scope="c")
    await grant(server, key)  # repeated: no change
    told = await server.ask(GetKeyAttributes(key_id=key, names=(GRANTED_SCOPE,)), LOCAL)
    assert [one.value for one in told.attributes] == ["b", "c"]
    await server.ask(DeleteAttribute(key_id=key, name=GRANTED_SCOPE, index=0), LOCAL)
    assert not await gets(server, key, OTHER) and await gets(server, key, THIRD)


@pytest.mark.parametrize("value", ["", "two words", 7, "x" * 161])
async def test_what_is_no_scope(shared: tuple[Server, KeyId], value: Any) -> None:
    server, key = shared
    with pytest.raises(InvalidField):
        await server.ask(AddAttribute(key_id=key, name=GRANTED_SCOPE, value=value))


async def test_a_grant_is_durable_and_in_the_trail(shared: tuple[Server, KeyId]) -> None:
    server, key = shared
    await grant(server, key)
    await server.boot()
    assert await gets(server, key, OTHER)
    rows = (await server.ask(QueryAudit(), LOCAL)).rows
    told = [(row.who, row.operation, row.result) for row in rows if row.key_id == key]
    assert ("vcenter", "Add Attribute", "Success") in told
    assert ("vcenter-b", "Get", "Success") in told
