"""Who may do what: every caller against every request, on an own key, a foreign one, and none."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.errors import InvalidArgument, ItemNotFound, PermissionDenied, ProductError
from protocol.messages.base import Request
from protocol.messages.fingerprints import FingerprintKeys
from protocol.messages.kms.keys import (
    Activate,
    AuditRow,
    CreateKey,
    Destroy,
    DiscoverVersions,
    GetAttributes,
    GetKeys,
    Locate,
    QueryAudit,
    Revoke,
)
from protocol.terms import KeyId, KmipState, NodeName
from services.kms.access.authorization import KeyServerCaller, caller_at
from services.kms.objects.key_row import StoredKeyRow
from services.kms.settings.config import Grant, KmsConfig, KmsRole, kms_config
from services.runtime.service import Peer
from tests.services.kms.ports import CONFIG, LOCAL, OPERATOR, OTHER, STRANGER, VCENTER, Server

CALLERS = {"client": VCENTER, "operator": OPERATOR, "stranger": STRANGER, "local": LOCAL}
TWIN = NodeName("kms-2")  # the other server of a pair
NOBODY = KeyId("00000000-0000-4000-8000-000000000000")

# Requests about one key: (request, caller) -> outcome on an own key, on a foreign key.
ONE_KEY: dict[tuple[str, str], tuple[str, str]] = {
    ("Activate", "client"): ("ok", "ItemNotFound"),
    ("Activate", "operator"): ("ok", "ItemNotFound"),
    ("Activate", "stranger"): ("PermissionDenied", "PermissionDenied"),
    ("Activate", "local"): ("ok", "ok"),
    ("Revoke", "client"): ("PermissionDenied", "ItemNotFound"),
    ("Revoke", "operator"): ("ok", "ItemNotFound"),
    ("Revoke", "stranger"): ("PermissionDenied", "PermissionDenied"),
    ("Revoke", "local"): ("ok", "ok"),
    ("Destroy", "client"): ("PermissionDenied", "ItemNotFound"),
    ("Destroy", "operator"): ("ok", "ItemNotFound"),
    ("Destroy", "stranger"): ("PermissionDenied", "PermissionDenied"),
    ("Destroy", "local"): ("ok", "ok"),
}
# Requests about no single key: (request, caller) -> outcome.
BY_ROLE: dict[tuple[str, str], str] = {
    ("DiscoverVersions", "client"): "ok",
    ("DiscoverVersions", "operator"): "ok",
    ("DiscoverVersions", "stranger"): "PermissionDenied",
    ("DiscoverVersions", "local"): "ok",
    ("CreateKey", "client"): "ok",
    ("CreateKey", "operator"): "ok",
    ("CreateKey", "stranger"): "PermissionDenied",
    ("CreateKey", "local"): "ok",
    ("CreateKey and get", "client"): "ok",
    ("CreateKey and get", "operator"): "PermissionDenied",
    ("CreateKey and get", "stranger"): "PermissionDenied",
    ("CreateKey and get", "local"): "PermissionDenied",
    ("GetKeys", "client"): "ok",
    ("GetKeys", "operator"): "PermissionDenied",
    ("GetKeys", "stranger"): "PermissionDenied",
    ("GetKeys", "local"): "PermissionDenied",
    ("GetAttributes", "client"): "ok",
    ("GetAttributes", "operator"): "ok",
    ("GetAttributes", "stranger"): "PermissionDenied",
    ("GetAttributes", "local"): "ok",
    ("Locate", "client"): "ok",
    ("Locate", "operator"): "ok",
    ("Locate", "stranger"): "PermissionDenied",
    ("Locate", "local"): "ok",
    ("QueryAudit", "client"): "PermissionDenied",
    ("QueryAudit", "operator"): "ok",
    ("QueryAudit", "stranger"): "PermissionDenied",
    ("QueryAudit", "local"): "ok",
    ("FingerprintKeys", "client"): "PermissionDenied",
    ("FingerprintKeys", "operator"): "PermissionDenied",
    ("FingerprintKeys", "stranger"): "PermissionDenied",
    ("FingerprintKeys", "local"): "ok",
}


def request(name: str, key_id: KeyId) -> Request[Any]:
    made: dict[str, Request[Any]] = {
        "Activate": Activate(key_id=key_id),
        "Revoke": Revoke(key_id=key_id),
        "Destroy": Destroy(key_id=key_id),
        "DiscoverVersions": DiscoverVersions(),
        "CreateKey": CreateKey(operation_id="new"),
        "CreateKey and get": CreateKey(operation_id="new", get=True),
        "GetKeys": GetKeys(key_ids=(key_id,)),
        "GetAttributes": GetAttributes(key_ids=(key_id,)),
        "Locate": Locate(),
        "QueryAudit": QueryAudit(),
        "FingerprintKeys": FingerprintKeys(secret=bytes(32)),
    }
    return made[name]


async def outcome(server: Server, name: str, key_id: KeyId, peer: Peer) -> str:
    try:
        await server.ask(request(name, key_id), peer)
    except ProductError as error:
        return type(error).__name__
    return "ok"


async def made(server: Server, peer: Peer, name: str) -> KeyId:
    """A key of ``peer`` in the state from which ``name`` is allowed."""
    active = name == "Revoke"
    return (await server.ask(CreateKey(operation_id="own", activate=active), peer)).key_id


@pytest.mark.parametrize(("name", "caller"), ONE_KEY)
async def test_one_key(server: Server, name: str, caller: str) -> None:
    own, foreign = ONE_KEY[name, caller]
    peer = CALLERS[caller]
    assert await outcome(server, name, await made(server, VCENTER, name), peer) == own
    assert await outcome(server, name, await made(server, OTHER, name), peer) == foreign
    none = "PermissionDenied" if caller == "stranger" else "ItemNotFound"
    assert await outcome(server, name, NOBODY, peer) == none


@pytest.mark.parametrize(("name", "caller"), BY_ROLE)
async def test_by_role(server: Server, name: str, caller: str) -> None:
    """The same whether the key asked for is one's own, a stranger's, or none."""
    own = await made(server, VCENTER, name)
    foreign = await made(server, OTHER, name)
    for key_id in (own, foreign, NOBODY):
        assert await outcome(server, name, key_id, CALLERS[caller]) == BY_ROLE[name, caller]


@pytest.mark.parametrize("caller", ["client", "operator"])
async def test_a_strangers_key_and_no_key_look_alike(server: Server, caller: str) -> None:
    foreign = await made(server, OTHER, "Destroy")
    seen: list[tuple[str, Any]] = []
    for key_id in (foreign, NOBODY):
        with pytest.raises(ItemNotFound) as caught:
            await server.ask(Destroy(key_id=key_id), CALLERS[caller])
        listed = await server.ask(GetAttributes(key_ids=(key_id,)), CALLERS[caller])
        with pytest.raises(ItemNotFound) as after:
            await server.ask(Locate(after=key_id), CALLERS[caller])
        seen.append((str(caught.value) + str(after.value), listed))
    assert seen[0] == seen[1]


async def test_lists_keep_to_the_scope(server: Server) -> None:
    own = await made(server, VCENTER, "")
    foreign = await made(server, OTHER, "")
    both = (own, foreign, NOBODY)
    got = await server.ask(GetKeys(key_ids=both))
    assert [value.index for value in got.values] == [0, None, None]
    assert [value.state is None for value in got.values] == [False, True, True]
    assert len(got.material.keys) == 1
    assert [k.key_id for k in (await server.ask(GetAttributes(key_ids=both))).keys] == [own]
    assert [k.key_id for k in (await server.ask(GetAttributes(key_ids=both), LOCAL)).keys] == [
        own,
        foreign,
    ]
    assert (await server.ask(Locate())).key_ids == (own,)
    assert (await server.ask(Locate(), OTHER)).key_ids == (foreign,)
    assert (await server.ask(Locate(), LOCAL)).key_ids == (own, foreign)


async def test_operation_ids_are_per_scope(server: Server) -> None:
    """Two clients may choose the same operation id; neither gets the other's key."""
    first = await server.ask(CreateKey(operation_id="same", get=True))
    second = await server.ask(CreateKey(operation_id="same", get=True), OTHER)
    assert first.key_id != second.key_id
    assert first.material != second.material


async def test_refusals_are_written_down_and_read_by_scope(server: Server) -> None:
    own = await made(server, VCENTER, "")
    foreign = await made(server, OTHER, "")
    for peer, key_id in ((VCENTER, own), (VCENTER, foreign), (STRANGER, own)):
        with pytest.raises((PermissionDenied, ItemNotFound)):
            await server.ask(Destroy(key_id=key_id), peer)
    with pytest.raises(PermissionDenied):
        await server.ask(GetKeys(key_ids=(own,)), OPERATOR)

    def told(rows: tuple[AuditRow, ...]) -> list[tuple[str, str, str, str]]:
        return [(row.who, row.operation, row.key_id, row.result) for row in rows]

    everything = [
        ("vcenter", "Create", own, "Success"),
        ("vcenter-b", "Create", foreign, "Success"),
        ("vcenter", "Destroy", own, "Permission Denied"),
        ("vcenter", "Destroy", foreign, "Item Not Found"),
        ("stranger", "Destroy", own, "Permission Denied"),
        ("operator", "Get", "", "Permission Denied"),
    ]
    assert told((await server.ask(QueryAudit(), LOCAL)).rows) == everything
    in_scope = [everything[n] for n in (0, 2, 3, 5)]
    assert told((await server.ask(QueryAudit(), OPERATOR)).rows) == in_scope


def row_in(scope: str) -> StoredKeyRow:
    return StoredKeyRow(
        key_id=KeyId("k"),
        scope=scope,
        operation_id="",
        origin=NodeName("kms"),
        algorithm="AES",
        length=256,
        usage_mask=12,
        state=KmipState.ACTIVE,
        initial_date=0.0,
        activation_date=None,
        deactivation_date=None,
        compromise_date=None,
        destroy_date=None,
        last_change_date=0.0,
        wrapped=None,
        changed=0,
    )


@pytest.mark.parametrize(
    ("node", "local", "caller"),
    [
        (VCENTER.node, False, KeyServerCaller("vcenter", KmsRole.CLIENT, "default")),
        (OTHER.node, False, KeyServerCaller("vcenter-b", KmsRole.CLIENT, "b")),
        (OPERATOR.node, False, KeyServerCaller("operator", KmsRole.OPERATOR, "default")),
        (TWIN, False, KeyServerCaller("kms-2", KmsRole.PEER, "default", every_scope=True)),
        (STRANGER.node, False, KeyServerCaller("stranger", None, "")),
        (
            LOCAL.node,
            True,
            KeyServerCaller("local/kms", KmsRole.OPERATOR, "default", every_scope=True),
        ),
    ],
)
def test_who_a_caller_is_and_which_keys_are_there_for_it(
    node: NodeName, local: bool, caller: KeyServerCaller
) -> None:
    config = KmsConfig(identities={**CONFIG.identities, TWIN: Grant(role=KmsRole.PEER)})
    found = caller_at(config, node, local=local)
    assert found == caller
    for scope in ("default", "b", "c"):
        key = row_in(scope)
        own = caller.every_scope or scope == caller.scope
        assert (found.owns(key), found.sees(key)) == (own, own)


async def test_a_grant_outlives_the_client(server: Server) -> None:
    """Keys belong to the scope: a client under another name, same scope, goes on with them."""
    old = await server.ask(CreateKey(operation_id="1", get=True))
    grant = Grant(role=KmsRole.CLIENT)
    renewed = Peer(STRANGER.node, 1)
    identities = {**CONFIG.identities, renewed.node: grant}
    server.config = KmsConfig(identities=identities)
    await server.boot()
    got = await server.ask(GetKeys(key_ids=(old.key_id,)), renewed)
    assert got.material == old.material
    repeated = await server.ask(CreateKey(operation_id="1", get=True), renewed)
    assert repeated == old


def test_config_from_a_map() -> None:
    """What a topology file says becomes the struct; what it cannot mean is named."""
    values = msgspec.to_builtins(CONFIG)
    assert kms_config(values) == CONFIG
    assert kms_config({}) == KmsConfig()
    assert kms_config({"transport": "kmip", "identities": {"a": {"role": "peer"}}}).peer == "a"
    for wrong, text in (
        ({"identities": {"vcenter": {"role": "boss"}}}, "boss"),
        ({"identitys": {}}, "identitys"),
        ({"identities": {"vcenter": {"scope": ""}}}, "scope"),
        ({"local_scope": ""}, "scope"),
        (
            {"transport": "kmip", "identities": {"vcenter": {}}},
            "only peers as bus",
        ),
        (
            {"transport": "kmip", "identities": {"a": {"role": "peer"}, "b": {"role": "kps"}}},
            "only",
        ),
    ):
        with pytest.raises(InvalidArgument, match=text):
            kms_config(wrong)
