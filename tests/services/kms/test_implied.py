"""Fresh, Lease Time, Original Creation Date and the digest of another format: who sets them, when,
what both doors and Locate say of them, and what another server learns."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

import pytest

from protocol.attributes import Attribute, ObjectDigest, RandomNumberGenerator, Value
from protocol.errors import IllegalOperation, InvalidField, PermissionDenied, ProductError
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import CryptographicAlgorithm, KeyFormatType
from protocol.kmip.enums import ObjectGroupMember, ObjectType, ResultReason
from protocol.kmip.objects import Attribute as WireAttribute
from protocol.kmip.objects import KeyBlock, KeyValue, SymmetricKey
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type, encode
from protocol.messages.kms.keys import CreateKey, GetKeyAttributes, GetKeys, QueryAudit
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.objects import key_row
from services.kms.objects.request_types import (
    AddObjectAttribute,
    Create,
    DeleteObjectAttribute,
    DestroyObject,
    Get,
    LocateObjects,
    ModifyObjectAttribute,
    Register,
    ReKey,
)
from tests.services.kms.core_rig import add, do, items, made, trail, value, values
from tests.services.kms.kmip_rig import Client, template
from tests.services.kms.pair_rig import A, B, PairRig
from tests.services.kms.ports import LOCAL, Server

FRESH, MADE, LEASE = key_row.FRESH, key_row.MADE, key_row.LEASE
GENERATOR, OWN_GENERATOR = key_row.GENERATOR, key_row.OWN_GENERATOR
BYTES = bytes(range(32))
DRBG = RandomNumberGenerator(
    rng_algorithm="DRBG",
    cryptographic_algorithm="HMAC_SHA1",
    drbg_algorithm="HMAC",
    prediction_resistance=True,
)
ANSI = RandomNumberGenerator(
    rng_algorithm="ANSIX9_31", cryptographic_algorithm="AES", cryptographic_length=256
)


def attribute(name: str, value: Value) -> Attribute:
    return Attribute(name=name, value=value)


async def brought(server: Server, *attributes: Attribute) -> KeyId:
    request = Register(material=KeyMaterial(BYTES), attributes=attributes)
    return (await do(server, request)).unique_identifier


async def give(server: Server, key_id: KeyId) -> None:
    await do(server, Get(unique_identifiers=(key_id,)))


async def found(server: Server, *asked: Attribute) -> list[KeyId]:
    return list((await do(server, LocateObjects(attributes=asked))).unique_identifiers)


# ---- Fresh ----------------------------------------------------------------------------------


async def test_the_first_get_ends_that_a_key_is_fresh(server: Server) -> None:
    key_id = await made(server)
    before = await value(server, key_id, "Last Change Date")
    assert await value(server, key_id, FRESH) is True
    server.clock.wall += 5
    await give(server, key_id)
    assert await value(server, key_id, FRESH) is False
    await give(server, key_id)
    rows = [(operation, result) for operation, key, result in await trail(server) if key == key_id]
    assert rows == [
        ("Create", "Success"),
        ("Get", "Success"),
        ("Serve", "Success"),
        ("Get", "Success"),
    ]
    assert await value(server, key_id, "Last Change Date") == before, "no client has changed it"
    await server.boot()
    assert await value(server, key_id, FRESH) is False


async def test_a_key_that_is_given_as_it_is_made_costs_nothing_more(server: Server) -> None:
    """What vCenter does in one message: one row, no attributes, three entries of the trail."""
    message = CreateKey(operation_id="1", activate=True, get=True)
    key_id = (await server.ask(message)).key_id
    assert server.platter.sql("SELECT attributes FROM keys") == [(b"",)]
    rows = [row.operation for row in (await server.ask(QueryAudit(), LOCAL)).rows]
    assert rows == ["Create", "Activate", "Get"]
    [fresh] = (await server.ask(GetKeyAttributes(key_id=key_id, names=(FRESH,)))).attributes
    assert fresh.value is False


async def test_a_destroyed_key_that_nobody_was_given_stays_fresh(server: Server) -> None:
    """As in OASIS SKLC-O-1: its Get finds nothing to give."""
    key_id = await made(server)
    await do(server, DestroyObject(unique_identifier=key_id))
    await give(server, key_id)
    assert await value(server, key_id, FRESH) is True


async def test_a_client_says_at_first_that_a_key_is_not_fresh(server: Server) -> None:
    known = await made(server, attribute(FRESH, False))
    new = await made(server, attribute(FRESH, True))
    assert (await value(server, known, FRESH), await value(server, new, FRESH)) == (False, True)
    for wrong in ((attribute(FRESH, 1),), (attribute(FRESH, True),) * 2):
        with pytest.raises(InvalidField):
            await made(server, *wrong)


@pytest.mark.parametrize("name", [FRESH, MADE, LEASE])
async def test_nobody_sets_them_later(server: Server, name: str) -> None:
    key_id = await made(server)
    before = await values(server, key_id)
    held: dict[str, Value] = {FRESH: False, MADE: 5.0, LEASE: 7200}
    for request in (
        AddObjectAttribute(unique_identifier=key_id, attribute=attribute(name, held[name])),
        ModifyObjectAttribute(unique_identifier=key_id, attribute=attribute(name, held[name])),
        DeleteObjectAttribute(unique_identifier=key_id, name=name),
    ):
        with pytest.raises(PermissionDenied):
            await do(server, request)
    assert await values(server, key_id) == before


async def test_a_lease_is_no_wish_of_a_template(server: Server) -> None:
    with pytest.raises(PermissionDenied):
        await made(server, attribute(LEASE, 60))


async def test_fresh_members_of_a_group_are_taken_one_by_one(server: Server) -> None:
    """As in OASIS TC-152: the third client finds none."""
    group = WireAttribute(attribute_name="Object Group", attribute_value="pool")
    client = Client(server, minor=1)
    keys = [await client.made(group) for _ in range(2)]
    locate = p.LocateRequest(
        maximum_items=1,
        object_group_member=ObjectGroupMember.GROUP_MEMBER_FRESH,
        attribute=(group,),
    )
    for key in keys:
        _, got = await client.items(locate, p.GetRequest())
        assert isinstance(got.response_payload, p.GetResponse)
        assert got.response_payload.unique_identifier == key
    _, got = await client.items(locate, p.GetRequest())
    assert got.result_reason is ResultReason.ITEM_NOT_FOUND
    default = p.LocateRequest(object_group_member=ObjectGroupMember.GROUP_MEMBER_DEFAULT)
    assert await client.refused(default) is ResultReason.FEATURE_NOT_SUPPORTED


def test_the_other_server_learns_that_a_key_was_given() -> None:
    rig = PairRig()
    key_id = rig.ask(A, CreateKey(operation_id="1")).key_id

    def fresh(server: Any) -> list[Value]:
        asked = GetKeyAttributes(key_id=key_id, names=(FRESH,))
        return [one.value for one in rig.ask(server, asked).attributes]

    assert (fresh(A), fresh(B)) == ([True], [True])
    rig.ask(B, GetKeys(key_ids=(key_id,)))
    assert (fresh(A), fresh(B)) == ([False], [False])
    rig.healthy()
    rig.close()


# ---- the other ones -----------------------------------------------------------------------------


async def test_when_a_key_was_made(server: Server) -> None:
    here = await made(server)
    start = server.clock.wall
    server.clock.wall += 10
    unknown = await brought(server)
    old = await brought(server, attribute(MADE, 5))
    told = [await value(server, key_id, MADE) for key_id in (here, unknown, old)]
    assert told == [start, None, 5.0]
    assert await found(server, attribute(MADE, start)) == [here]
    assert await found(server, attribute(MADE, 0.0), attribute(MADE, start)) == [here, old]
    assert await found(server, attribute(MADE, start + 10)) == [], "of one it is not known"
    await server.boot()
    assert await value(server, unknown, MADE) is None


async def test_which_generator_a_key_was_drawn_with(server: Server) -> None:
    """Of a key that was brought it is said once, then or later; a key that is made here has that
    of this server, and one that is to have another is not made (KMIP 1.4 section 3.44)."""
    here = await made(server, attribute(MADE, 5.0))
    unknown = await brought(server)
    theirs = await brought(server, attribute(GENERATOR, DRBG))
    assert [await value(server, key, GENERATOR) for key in (here, unknown, theirs)] == [
        OWN_GENERATOR,
        None,
        DRBG,
    ]
    await add(server, unknown, GENERATOR, ANSI)
    for key in (here, unknown, theirs):
        before = await values(server, key)
        for request in (
            AddObjectAttribute(unique_identifier=key, attribute=attribute(GENERATOR, DRBG)),
            ModifyObjectAttribute(unique_identifier=key, attribute=attribute(GENERATOR, DRBG)),
            DeleteObjectAttribute(unique_identifier=key, name=GENERATOR),
        ):
            with pytest.raises((PermissionDenied, IllegalOperation)):
                await do(server, request)
        assert await values(server, key) == before
    await server.boot()
    assert await found(server, attribute(GENERATOR, DRBG)) == [theirs]
    assert await found(server, attribute(GENERATOR, OWN_GENERATOR)) == [here]
    with pytest.raises(InvalidField):
        await made(server, attribute(GENERATOR, DRBG))
    either = await made(server, attribute(GENERATOR, DRBG), attribute(GENERATOR, OWN_GENERATOR))
    assert await value(server, either, GENERATOR) == OWN_GENERATOR
    follows = await do(server, ReKey(unique_identifier=theirs))
    assert await value(server, follows.unique_identifier, GENERATOR) == OWN_GENERATOR


async def test_when_a_key_that_was_brought_was_made_is_said_once(server: Server) -> None:
    """Then or later (KMIP 1.4 section 3.43)."""
    key = await brought(server)
    await add(server, key, MADE, 9e9)
    for request in (
        ModifyObjectAttribute(unique_identifier=key, attribute=attribute(MADE, 5.0)),
        DeleteObjectAttribute(unique_identifier=key, name=MADE),
    ):
        with pytest.raises(PermissionDenied):
            await do(server, request)
    assert await value(server, key, MADE) == 9e9


async def test_they_are_found(server: Server) -> None:
    first, second = await made(server), await made(server)
    await give(server, first)
    for asked, expected in [
        (attribute(FRESH, True), [second]),
        (attribute(FRESH, False), [first]),
        (attribute(FRESH, 0), []),
        (attribute(LEASE, key_row.LEASE_S), [first, second]),
        (attribute(LEASE, 60), []),
        (attribute(LEASE, True), []),
    ]:
        assert await found(server, asked) == expected, asked


def transparent(material: bytes) -> TtlvItem:
    key = TtlvItem(Tag.KEY, Type.BYTE_STRING, material)
    return TtlvItem(Tag.KEY_MATERIAL, Type.STRUCTURE, (key,))


def register(material: KeyMaterial | TtlvItem, kind: KeyFormatType) -> p.RegisterRequest:
    block = KeyBlock(
        key_format_type=kind,
        key_value=KeyValue(key_material=material),
        cryptographic_algorithm=CryptographicAlgorithm.AES,
        cryptographic_length=256,
    )
    return p.RegisterRequest(
        object_type=ObjectType.SYMMETRIC_KEY,
        template_attribute=template(),
        object=SymmetricKey(key_block=block),
    )


async def test_a_transparent_key_comes_and_goes(server: Server) -> None:
    """Its digest is that of the structure (OASIS TC-181); it is the same key as the raw one."""
    client = Client(server)
    kind = KeyFormatType.TRANSPARENT_SYMMETRIC_KEY
    asked = register(transparent(BYTES), kind)
    key_id = KeyId((await client.ask(asked, p.RegisterResponse)).unique_identifier)
    expected = ObjectDigest(
        digest=hashlib.sha256(encode(transparent(BYTES))).digest(),
        format="TransparentSymmetricKey",
    )
    assert await value(server, key_id, "Digest") == expected
    raw = ObjectDigest(digest=hashlib.sha256(BYTES).digest())
    assert await found(server, attribute("Digest", expected)) == [key_id]
    assert await found(server, attribute("Digest", raw)) == []
    for wanted, material in ((None, transparent(BYTES)), (KeyFormatType.RAW, KeyMaterial(BYTES))):
        request = p.GetRequest(unique_identifier=key_id, key_format_type=wanted)
        got = (await client.ask(request, p.GetResponse)).object
        assert isinstance(got, SymmetricKey) and isinstance(got.key_block.key_value, KeyValue)
        assert got.key_block.key_format_type == (wanted or kind)
        assert got.key_block.key_value.key_material == material
    [held] = (await do(server, Get(unique_identifiers=(key_id,)))).keys
    assert held.material == KeyMaterial(BYTES)


@pytest.mark.parametrize(
    ("material", "kind"),
    [
        (KeyMaterial(BYTES), KeyFormatType.TRANSPARENT_SYMMETRIC_KEY),
        (transparent(BYTES), KeyFormatType.RAW),
        (TtlvItem(Tag.KEY_MATERIAL, Type.STRUCTURE, ()), KeyFormatType.TRANSPARENT_SYMMETRIC_KEY),
        (
            TtlvItem(Tag.KEY_MATERIAL, Type.STRUCTURE, transparent(BYTES).items() * 2),
            KeyFormatType.TRANSPARENT_SYMMETRIC_KEY,
        ),
    ],
)
async def test_material_of_another_format_than_it_says_is_refused(
    server: Server, material: Any, kind: KeyFormatType
) -> None:
    assert await Client(server).refused(register(material, kind)) is ResultReason.INVALID_FIELD


@pytest.mark.parametrize(("minor", "known"), [(0, {LEASE}), (1, {LEASE, FRESH}), (2, None)])
async def test_a_version_is_told_of_what_it_knows(
    server: Server, minor: int, known: set[str] | None
) -> None:
    client = Client(server, minor=minor)
    key_id, wanted = await client.made(), known or {LEASE, FRESH, MADE}
    asked = p.GetAttributeListRequest(unique_identifier=key_id)
    listed = await client.ask(asked, p.GetAttributeListResponse)
    assert {FRESH, MADE, LEASE} & {*listed.attribute_name} == wanted
    got = await client.ask(
        p.GetAttributesRequest(unique_identifier=key_id), p.GetAttributesResponse
    )
    assert {FRESH, MADE, LEASE} & {one.attribute_name for one in got.attribute} == wanted


@pytest.mark.parametrize("seed", range(6))
async def test_no_order_of_operations_makes_a_key_fresh_again(seed: int) -> None:
    """A random walk over keys with every operation on attributes: fresh until given, then never
    more; made when it was made; the server starts again on what it has, which checks its index."""
    choose, server, given = Random(seed), Server(), set[KeyId]()
    await server.boot()
    keys: dict[KeyId, Value | None] = {}
    for _ in range(60):
        said = [attribute(MADE, float(choose.randrange(9)))] if choose.random() < 0.3 else []
        if len(keys) < 3 or choose.random() < 0.1:
            kind: Any = choose.choice([Create, Register])
            more = {"material": KeyMaterial(choose.randbytes(32))} if kind is Register else {}
            [item] = await items(server, kind(attributes=tuple(said), **more))
            key_id = item.response.unique_identifier  # type: ignore[union-attr]
            made_on: Value | None = None if kind is Register else server.clock.wall
            keys[key_id] = said[0].value if said else made_on
        key_id = choose.choice([*keys])
        name = choose.choice([FRESH, MADE, LEASE, "Digest", "Object Group", "x-a"])
        wild: list[Value] = [True, False, 5.0, "a", 3]
        change = attribute(name, choose.choice(wild))
        request: Any = choose.choice(
            [
                Get(unique_identifiers=(key_id,)),
                AddObjectAttribute(unique_identifier=key_id, attribute=change),
                ModifyObjectAttribute(unique_identifier=key_id, attribute=change),
                DeleteObjectAttribute(unique_identifier=key_id, name=name),
            ]
        )
        try:
            await do(server, request)
            if name == MADE and isinstance(request, AddObjectAttribute):
                keys[key_id] = change.value  # of a key that was brought, once
        except ProductError:
            assert not isinstance(request, Get)
        if isinstance(request, Get):
            given.add(key_id)
        server.clock.wall += choose.choice([0, 0, 3])
        if choose.random() < 0.1:
            await server.boot()
    for key_id, told in keys.items():
        assert await value(server, key_id, FRESH) is (key_id not in given)
        assert await value(server, key_id, MADE) == told, "set once"
    assert await found(server, attribute(FRESH, True)) == [key for key in keys if key not in given]
    for connection in server.platter.databases.values():
        connection.close()
