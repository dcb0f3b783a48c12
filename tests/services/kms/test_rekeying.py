"""Re-key: what the new key has of the old one, and what goes over to it."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from protocol.attributes import Attribute, ObjectLink, ObjectName, UsageLimitsValue, Value
from protocol.errors import (
    IllegalOperation,
    InvalidField,
    InvalidMessage,
    ItemNotFound,
    PermissionDenied,
)
from protocol.kmip import payloads as p
from protocol.kmip.objects import Attribute as WireAttribute
from protocol.kmip.objects import TemplateAttribute
from protocol.terms import KeyId, RevocationReason
from services.kms.access.authorization import KeyServerCaller
from services.kms.objects import request_types as r
from services.kms.operations.batches import Continuation
from services.kms.settings.config import KmsRole
from tests.services.kms.core_rig import (
    STRANGER,
    add,
    do,
    items,
    made,
    named,
    trail,
    value,
    values,
)
from tests.services.kms.kmip_rig import Client
from tests.services.kms.ports import Server

DATES = ("Activation Date", "Process Start Date", "Protect Stop Date", "Deactivation Date")


def attribute(name: str, value: Value) -> Attribute:
    return Attribute(name=name, value=value)


async def follows(server: Server, key_id: KeyId, **more: Any) -> KeyId:
    return (await do(server, r.ReKey(unique_identifier=key_id, **more))).unique_identifier


async def material(server: Server, key_id: KeyId) -> Any:
    [got] = (await do(server, r.Get(unique_identifiers=(key_id,)))).keys
    return got.material


async def dates(server: Server, key_id: KeyId) -> list[Value | None]:
    return [await value(server, key_id, name) for name in DATES]


async def test_the_new_key_takes_the_place_of_the_old_one(server: Server) -> None:
    old = (
        await do(
            server,
            r.Create(
                algorithm="3DES",
                length=112,
                usage_mask=4,
                attributes=(
                    named("disk"),
                    attribute("Object Group", "g"),
                    attribute("Contact Information", "who"),
                    attribute("x-a", "1"),
                    attribute("x-a", "2"),
                    attribute("Usage Limits", UsageLimitsValue(total=5, unit="Object")),
                ),
            ),
        )
    ).unique_identifier
    await do(server, r.ActivateObject(unique_identifier=old))
    await do(server, r.GetUsageAllocation(unique_identifier=old, count=5))
    was = await material(server, old)
    server.clock.wall += 10
    new = await follows(server, old)
    assert len(await material(server, new)) == 16
    assert await material(server, new) != was == await material(server, old)
    digest: Any = await value(server, new, "Digest")
    assert digest.digest == hashlib.sha256((await material(server, new)).reveal()).digest()
    told = {(name, value) for name, _, value in await values(server, new)}
    assert {
        ("Name", ObjectName(value="disk")),
        ("Object Group", "g"),
        ("Contact Information", "who"),
        ("x-a", "1"),
        ("x-a", "2"),
        ("Cryptographic Algorithm", "3DES"),
        ("Cryptographic Usage Mask", 4),
        ("Initial Date", server.clock.wall),
        ("State", "Active"),
        ("Usage Limits", UsageLimitsValue(total=5, unit="Object")),
        ("Link", ObjectLink(type="Replaced Object Link", linked=old)),
    } <= told
    assert await value(server, old, "Name") is None
    link = ObjectLink(type="Replacement Object Link", linked=new)
    assert await value(server, old, "Link") == link
    found = await do(server, r.LocateObjects(attributes=(named("disk"),)))
    assert found.unique_identifiers == (new,)
    await server.boot()
    assert len(await material(server, new)) == 16
    rows = [(operation, key) for operation, key, _ in await trail(server)]
    assert ("Re-key", old) in rows and ("Re-key", new) in rows


async def test_a_third_key_follows_the_second(server: Server) -> None:
    first = await made(server, named("disk"))
    second = await follows(server, first)
    third = await follows(server, second)
    links = [(one, link) for name, one, link in await values(server, second) if name == "Link"]
    assert [link for _, link in links] == [
        ObjectLink(type="Replaced Object Link", linked=first),
        ObjectLink(type="Replacement Object Link", linked=third),
    ]
    assert await value(server, third, "Name") == ObjectName(value="disk")


async def test_its_dates_are_those_of_the_old_key_or_move_with_the_offset(server: Server) -> None:
    start = server.clock.wall
    given = [attribute(name, start + place * 10) for place, name in enumerate(DATES)]
    old = await made(server, *given)
    server.clock.wall += 100
    assert await value(server, old, "State") == "Deactivated"
    same = await follows(server, old)
    assert await dates(server, same) == [start, start + 10, start + 20, start + 30]
    assert await value(server, same, "State") == "Deactivated"
    moved = await follows(server, old, offset=5)
    assert await dates(server, moved) == [start + 105 + place * 10 for place in range(4)]
    assert await value(server, moved, "State") == "Pre-Active"
    server.clock.wall += 5
    assert await value(server, moved, "State") == "Active"
    plain = await follows(server, await made(server), offset=0)
    assert await dates(server, plain) == [server.clock.wall, None, None, None]


@pytest.mark.parametrize("name", DATES[1:])
async def test_an_offset_moves_no_date_of_a_key_without_activation(
    server: Server, name: str
) -> None:
    """KMIP 1.4 section 11.5: nobody can tell how far from its activation the date is."""
    old = await made(server, attribute(name, server.clock.wall + 100))
    with pytest.raises(IllegalOperation):
        await follows(server, old, offset=5)
    await follows(server, old)
    plain = await follows(server, await made(server), offset=5)
    assert await value(server, plain, DATES[0]) == server.clock.wall + 5


async def test_what_the_request_says_is_so(server: Server) -> None:
    """OASIS TC-94."""
    old = await made(server, named("disk"), attribute("x-a", "1"), attribute("x-b", "1"))
    said = (
        attribute("Activation Date", 5.0),
        attribute("x-a", "2"),
        named("other"),
        attribute("Cryptographic Length", 256),
    )
    new = await follows(server, old, attributes=said)
    assert await value(server, new, "State") == "Active"
    assert [(n, v) for n, _, v in await values(server, new, "x-a", "x-b", "Name")] == [
        ("x-a", "2"),
        ("x-b", "1"),
        ("Name", ObjectName(value="disk")),
        ("Name", ObjectName(value="other")),
    ]


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"offset": 5, "attributes": (attribute("Activation Date", 5.0),)}, InvalidMessage),
        ({"attributes": (attribute("Cryptographic Length", 128),)}, InvalidField),
        ({"attributes": (attribute("Cryptographic Algorithm", "3DES"),)}, InvalidField),
        ({"attributes": (attribute("State", "Active"),)}, PermissionDenied),
        ({"attributes": (attribute("Deactivation Date", 1.0),)}, InvalidField),
        ({"attributes": (named("taken"),)}, Exception),
    ],
    ids=str,
)
async def test_a_refusal_leaves_the_old_key_as_it_was(
    server: Server, more: dict[str, Any], error: type[Exception]
) -> None:
    await made(server, named("taken"))
    old = await made(server, named("disk"), attribute("Activation Date", 5.0))
    before = await values(server, old)
    with pytest.raises(error):
        await follows(server, old, **more)
    assert await values(server, old) == before
    assert (await do(server, r.LocateObjects())).total == 2
    await server.boot()


async def test_who_may(server: Server) -> None:
    old = await made(server)
    with pytest.raises(ItemNotFound):
        await do(server, r.ReKey(unique_identifier=old), STRANGER)
    for role in (KmsRole.CLIENT, KmsRole.KPS, KmsRole.VSAN):
        with pytest.raises(PermissionDenied):
            await do(
                server, r.ReKey(unique_identifier=old), KeyServerCaller("who", role, "default")
            )
    await do(
        server, r.ReKey(unique_identifier=old), KeyServerCaller("who", KmsRole.OPERATOR, "default")
    )


async def test_what_is_compromised_is_followed_and_what_is_destroyed_is_not(
    server: Server,
) -> None:
    old = await made(server, attribute("Activation Date", 5.0))
    await do(server, r.RevokeObject(unique_identifier=old, reason=RevocationReason.KEY_COMPROMISE))
    new = await follows(server, old)
    assert await value(server, new, "State") == "Active"
    assert await value(server, new, "Revocation Reason") is None
    await do(server, r.DestroyObject(unique_identifier=old))
    with pytest.raises(ItemNotFound):
        await follows(server, old)


async def test_the_placeholder_is_the_new_key(server: Server) -> None:
    done = await items(server, r.Create(attributes=(named("disk"),)), r.ReKey(), r.Get())
    new = done[1].response.unique_identifier  # type: ignore[union-attr]
    assert isinstance(done[2].response, r.Got)
    [got] = done[2].response.keys
    assert got.unique_identifier == new and got.material is not None
    before = (await do(server, r.LocateObjects())).total
    undone = await items(
        server,
        *(r.ReKey(unique_identifier=new), r.Get(unique_identifiers=(KeyId("no"),), required=True)),
        option=Continuation.UNDO,
    )
    assert undone[0].undone
    assert (await do(server, r.LocateObjects())).total == before
    assert await value(server, new, "Name") == ObjectName(value="disk")


async def test_it_is_asked_over_the_wire(server: Server) -> None:
    client = Client(server)
    old = await client.made(WireAttribute(attribute_name="x-a", attribute_value="1"))
    asked = p.ReKeyRequest(
        unique_identifier=old,
        offset=0,
        template_attribute=TemplateAttribute(
            attribute=(WireAttribute(attribute_name="x-b", attribute_value="2"),)
        ),
    )
    new = KeyId((await client.ask(asked, p.ReKeyResponse)).unique_identifier)
    assert await value(server, new, "x-a") == "1"
    assert await value(server, new, "x-b") == "2"
    assert await value(server, new, "State") == "Active"


async def test_one_that_a_full_key_cannot_be_linked_from_is_refused(server: Server) -> None:
    old = await made(server)
    for place in range(64):
        await add(server, old, "Link", ObjectLink(type="Child Link", linked=str(place)))
    with pytest.raises(Exception, match="64"):
        await follows(server, old)
    assert (await do(server, r.LocateObjects())).total == 1
    assert await material(server, old) is not None
