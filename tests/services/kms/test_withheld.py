"""Sensitive and Extractable: how far material leaves, whichever way it is asked for, and what the
server says of how it was since the key was made (KMIP 1.4 sections 3.48 to 3.51)."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.attributes import Attribute
from protocol.errors import (
    CryptographicFailure,
    IllegalOperation,
    InvalidField,
    NotExtractable,
    PermissionDenied,
    ProductError,
    Sensitive,
)
from protocol.kmip import payloads as p
from protocol.kmip.enums import ResultReason
from protocol.messages.kms import keys as m
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.objects.request_types import (
    ActivateObject,
    AddObjectAttribute,
    Create,
    DeleteObjectAttribute,
    EncryptData,
    Get,
    KeyWrapping,
    LocateObjects,
    ModifyObjectAttribute,
    ReKey,
)
from services.kms.operations import core
from tests.services.kms.core_rig import OWNER, do, made, trail, value
from tests.services.kms.kmip_rig import Client
from tests.services.kms.ports import Server

SENSITIVE, EXTRACTABLE = "Sensitive", "Extractable"
NAMES = (SENSITIVE, "Always Sensitive", EXTRACTABLE, "Never Extractable")
KEPT = Attribute(name=EXTRACTABLE, value=False)
CLOSE = Attribute(name=SENSITIVE, value=True)


async def told(server: Server, key: KeyId) -> list[Any]:
    return [await value(server, key, name) for name in NAMES]


async def change(server: Server, key: KeyId, name: str, wanted: Any) -> None:
    attribute = Attribute(name=name, value=wanted)
    await do(server, ModifyObjectAttribute(unique_identifier=key, attribute=attribute))


async def wrapping(server: Server) -> KeyWrapping:
    """Under a new key."""
    key = (await do(server, Create(usage_mask=16))).unique_identifier
    await do(server, ActivateObject(unique_identifier=key))
    return KeyWrapping(key_id=key, alone=True)


async def refusal(
    server: Server, key: KeyId, under: KeyWrapping | None
) -> type[ProductError] | None:
    try:
        got = await do(server, Get(unique_identifiers=(key,), required=True, wrapping=under))
    except ProductError as error:
        row = next(row for row in reversed(await trail(server)) if row[1] == key)
        assert row == ("Get", key, error.reason.value)
        return type(error)
    assert got.keys[0].material is not None
    return None


@pytest.mark.parametrize(
    ("said", "clear", "wrapped"),
    [
        ((), None, None),
        ((Attribute(name=SENSITIVE, value=False),), None, None),
        ((CLOSE,), Sensitive, None),
        ((KEPT,), NotExtractable, NotExtractable),
        ((CLOSE, KEPT), NotExtractable, NotExtractable),
    ],
    ids=str,
)
async def test_how_a_key_leaves(
    server: Server, said: tuple[Attribute, ...], clear: Any, wrapped: Any
) -> None:
    """It is used all the same."""
    key, under = await made(server, *said), await wrapping(server)
    for _ in range(2):
        assert await refusal(server, key, None) is clear
        assert await refusal(server, key, under) is wrapped
        await server.boot()
    await do(server, ActivateObject(unique_identifier=key))
    await do(server, EncryptData(unique_identifier=key, data=KeyMaterial(b"data"), iv=bytes(12)))


async def test_what_has_always_been_so(server: Server) -> None:
    """Once it was not, it is so no more, whatever the client says later."""
    plain, close, kept = [await made(server, *said) for said in ((), (CLOSE,), (KEPT,))]
    assert await told(server, plain) == [False, False, True, False]
    assert await told(server, close) == [True, True, True, False]
    assert await told(server, kept) == [False, False, False, True]
    for key in (plain, close, kept):
        await change(server, key, SENSITIVE, True)
        await change(server, key, EXTRACTABLE, False)
    await server.boot()
    assert await told(server, plain) == [True, False, False, False]
    assert await told(server, close) == [True, True, False, False]
    assert await told(server, kept) == [True, False, False, True]
    for key in (close, kept):
        await change(server, key, SENSITIVE, False)
        await change(server, key, EXTRACTABLE, True)
        assert await told(server, key) == [False, False, True, False]
        assert await refusal(server, key, None) is None
        await change(server, key, SENSITIVE, True)
        await change(server, key, EXTRACTABLE, False)
        assert await told(server, key) == [True, False, False, False]
    for name, wanted, expected in (
        (SENSITIVE, True, [plain, close, kept]),
        (EXTRACTABLE, False, [plain, close, kept]),
        ("Always Sensitive", True, []),
        ("Never Extractable", False, [plain, close, kept]),
    ):
        found = await do(server, LocateObjects(attributes=(Attribute(name=name, value=wanted),)))
        assert list(found.unique_identifiers) == expected, name
    await server.boot()


async def test_what_a_client_may_not_say(server: Server) -> None:
    key = await made(server)
    for name in NAMES:
        attribute = Attribute(name=name, value=True)
        with pytest.raises((IllegalOperation, PermissionDenied)):
            await do(server, AddObjectAttribute(unique_identifier=key, attribute=attribute))
        with pytest.raises(PermissionDenied):
            await do(server, DeleteObjectAttribute(unique_identifier=key, name=name))
    for name in ("Always Sensitive", "Never Extractable"):
        with pytest.raises(PermissionDenied):
            await change(server, key, name, True)
        with pytest.raises(PermissionDenied):
            await made(server, Attribute(name=name, value=True))
    with pytest.raises(InvalidField):
        await change(server, key, SENSITIVE, 1)
    with pytest.raises(InvalidField):
        await made(server, CLOSE, CLOSE)
    assert await told(server, key) == [False, False, True, False]


async def test_a_key_that_follows_is_withheld_too(server: Server) -> None:
    key = await made(server, CLOSE)
    after = (await do(server, ReKey(unique_identifier=key))).unique_identifier
    assert await told(server, after) == [True, True, True, False]
    open_ = ReKey(unique_identifier=key, attributes=(Attribute(name=SENSITIVE, value=False),))
    assert await told(server, (await do(server, open_)).unique_identifier) == [
        False,
        False,
        True,
        False,
    ]


async def test_the_reasons_of_1_4_are_permission_denied_before(server: Server) -> None:
    keys = {"Sensitive": await made(server, CLOSE), "Not Extractable": await made(server, KEPT)}
    for name, key in keys.items():
        for minor in range(5):
            client = Client(server, minor=minor)
            reason = await client.refused(p.GetRequest(unique_identifier=key))
            since = {"Sensitive": ResultReason.SENSITIVE}.get(name, ResultReason.NOT_EXTRACTABLE)
            assert reason is (since if minor == 4 else ResultReason.PERMISSION_DENIED)


async def test_of_several_keys_it_is_said_which_one_is_withheld(server: Server) -> None:
    plain, kept = await made(server), await made(server, KEPT)
    with pytest.raises(CryptographicFailure, match=f"key {kept}: KMIP Not Extractable"):
        await server.ask(m.GetKeys(key_ids=(plain, kept)))
    assert len((await server.ask(m.GetKeys(key_ids=(plain,)))).material.keys) == 1


async def test_a_server_that_answers_at_once_withholds_it_too(lazy: Server) -> None:
    key = await made(lazy)
    await do(lazy, Get(unique_identifiers=(key,)))
    await do(lazy, Get(unique_identifiers=(key,)))
    assert core.get_at_once(lazy.service.core, OWNER, key) is not None
    for name, wanted in ((SENSITIVE, True), (EXTRACTABLE, False)):
        await change(lazy, key, name, wanted)
        with pytest.raises((Sensitive, NotExtractable)):
            await do(lazy, Get(unique_identifiers=(key,), required=True))
        assert core.get_at_once(lazy.service.core, OWNER, key) is None
