"""Attributes of keys: what a client may do with each, in every state, and what it is told then."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from protocol.attributes import (
    AlternativeNameValue,
    ApplicationData,
    Attribute,
    CryptographicParametersValue,
    ItemType,
    ObjectDigest,
    ObjectLink,
    ObjectName,
    Revocation,
    Structure,
    StructureField,
    Typed,
    UsageLimitsValue,
    Value,
)
from protocol.errors import (
    IllegalOperation,
    IndexOutofBounds,
    InvalidField,
    InvalidMessage,
    ItemNotFound,
    PermissionDenied,
    ProductError,
)
from protocol.kmip.algorithms import KeyFormatType
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, RevocationReason
from services.kms.endpoints.kmip.values import write
from services.kms.objects import request_types as r
from services.kms.objects.attributes import MESSAGE_LIMIT, READ_ONLY, RULES
from services.kms.objects.key_row import AT_FIRST, BY_DEFAULT
from services.runtime.service import Halted
from tests.services.kms.core_rig import (
    OWNER,
    STRANGER,
    add,
    do,
    made,
    named,
    trail,
    value,
    values,
)
from tests.services.kms.ports import CONFIG, VCENTER, Server

NOBODY = KeyId("00000000-0000-4000-8000-000000000000")
SAMPLES: dict[str, Value] = {
    "Name": ObjectName(value="Größe 鍵"),
    "Object Group": "group",
    "Link": ObjectLink(type="Replaced Object Link", linked="another"),
    "Application Specific Information": ApplicationData(namespace="LIBRARY-LTO", data="tape"),
    "Contact Information": "somebody",
    "Comment": "for one's own use",
    "Description": "a key of the storage array",
    "Operation Policy Name": "default",
    "Cryptographic Parameters": CryptographicParametersValue(
        block_cipher_mode="GCM", tag_length=12
    ),
    "Activation Date": 5e9,
    "Process Start Date": 5e9,
    "Protect Stop Date": 6e9,
    "Deactivation Date": 7e9,
    "Usage Limits": UsageLimitsValue(total=2**40, unit="Byte"),
    "x-Name": "vm-01",
    "x-number": 5,
    "x-flag": True,
    "x-bytes": Typed(type=ItemType.BYTE_STRING, value=b"\x00\xff"),
    "x-date": Typed(type=ItemType.DATE_TIME, value=7),
    "Alternative Name": AlternativeNameValue(value="XXA012A1", type="Object Serial Number"),
    "x-structure": Structure(
        fields=(
            StructureField(0x420055, "tape"),
            StructureField(0x540001, -5),
            StructureField(0x540001, True),
            StructureField(0x540002, Typed(type=ItemType.LONG_INTEGER, value=2**40)),
        )
    ),
}


def attribute(name: str, value: Value, index: int = 0) -> Attribute:
    return Attribute(name=name, value=value, index=index)


@pytest.mark.parametrize("name", SAMPLES)
async def test_what_is_added_is_told_and_outlives_a_restart(server: Server, name: str) -> None:
    key_id = await made(server)
    assert await add(server, key_id, name, SAMPLES[name]) == attribute(name, SAMPLES[name])
    await server.boot()
    assert await values(server, key_id, name) == [(name, 0, SAMPLES[name])]
    listed = await do(server, r.ListObjectAttributes(unique_identifier=key_id))
    assert name in listed.names and len(set(listed.names)) == len(listed.names)


@pytest.mark.parametrize("name", SAMPLES)
async def test_a_template_gives_the_same(server: Server, name: str) -> None:
    key_id = await made(server, attribute(name, SAMPLES[name], index=7))
    assert await values(server, key_id, name) == [(name, 0, SAMPLES[name])]


def test_every_attribute_that_a_client_sets_is_tried_here() -> None:
    assert set(RULES) - set(AT_FIRST) <= set(SAMPLES)


async def test_all_attributes_of_a_key(server: Server) -> None:
    """Without names all that has a value is told, once, and GetAttributeList says the same."""
    material = KeyMaterial(bytes(range(16)))
    given = tuple(attribute(name, value) for name, value in SAMPLES.items())
    request = r.Register(material=material, length=128, usage_mask=4, attributes=given)
    key_id = (await do(server, request)).unique_identifier
    start = server.clock.wall
    told = {name: value for name, _, value in await values(server, key_id)}
    assert told == SAMPLES | {
        "Unique Identifier": key_id,
        "Object Type": "Symmetric Key",
        "Cryptographic Algorithm": "AES",
        "Cryptographic Length": 128,
        "Cryptographic Usage Mask": 4,
        "Digest": ObjectDigest(digest=hashlib.sha256(bytes(range(16))).digest()),
        "State": "Pre-Active",
        "Initial Date": start,
        "Last Change Date": start,
        "Lease Time": 3600,
    } | dict[str, Value](BY_DEFAULT) | {"Fresh": True}
    listed = await do(server, r.ListObjectAttributes(unique_identifier=key_id))
    assert set(listed.names) == set(told)
    [got] = (await do(server, r.Get(unique_identifiers=(key_id,)))).keys
    assert got.material == material


@pytest.mark.parametrize(
    ("minor", "told"), [(0, None), (1, KeyFormatType.RAW), (4, KeyFormatType.RAW)]
)
def test_a_digest_names_its_key_format_since_1_1(minor: int, told: KeyFormatType | None) -> None:
    digest = Attribute(name="Digest", value=ObjectDigest(digest=bytes(32)))
    written: Any = write(digest, minor).attribute_value
    assert written.key_format_type == told


async def test_names_that_nobody_knows_are_no_refusal(server: Server) -> None:
    """vCenter asks for its ``x-`` attributes before it adds them."""
    key_id = await made(server)
    asked = ("x-Vendor", "State", "nonsense", "Destroy Date")
    assert await values(server, key_id, *asked) == [("State", 0, "Pre-Active")]
    with pytest.raises(InvalidMessage):
        await values(server, key_id, "State", "State")


@pytest.mark.parametrize("operation", ["add", "modify", "delete"])
@pytest.mark.parametrize("name", [*READ_ONLY, "y-own"])
async def test_what_only_the_server_sets_is_denied(
    server: Server, name: str, operation: str
) -> None:
    key_id = await made(server)
    before = await values(server, key_id)
    with pytest.raises(PermissionDenied):
        await do(server, changing(operation, key_id, name, "1"))
    assert await values(server, key_id) == before


@pytest.mark.parametrize(
    ("operation", "error"),
    [("add", PermissionDenied), ("modify", InvalidField), ("delete", ItemNotFound)],
)
@pytest.mark.parametrize("name", ["Archive Date", "nonsense"])
async def test_what_no_key_has_is_refused(
    server: Server, name: str, operation: str, error: type[ProductError]
) -> None:
    """KMIP 1.4 sections 11.15 to 11.17."""
    key_id = await made(server)
    with pytest.raises(error):
        await do(server, changing(operation, key_id, name, "1"))


def changing(operation: str, key_id: KeyId, name: str, value: Value, index: int = 0) -> Any:
    match operation:
        case "add":
            return r.AddObjectAttribute(unique_identifier=key_id, attribute=attribute(name, value))
        case "modify":
            return r.ModifyObjectAttribute(
                unique_identifier=key_id, attribute=attribute(name, value, index)
            )
        case _:
            return r.DeleteObjectAttribute(unique_identifier=key_id, name=name, index=index)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (("add", "Contact Information", "b"), IllegalOperation),
        (("add", "x-a", "1"), IllegalOperation),
        (("add", "x-" + "a" * 200, "1"), InvalidField),
        (("add", "Name", "text"), InvalidField),
        (("add", "x-a", 1.5), InvalidField),
        (("add", "Activation Date", -1.0), InvalidField),
        (("add", "Activation Date", float("nan")), InvalidField),
        (("modify", "x-b", "1"), InvalidField),
        (("modify", "x-a", "2", 1), ItemNotFound),
        (("delete", "x-b", ""), ItemNotFound),
        (("delete", "x-a", "", 1), ItemNotFound),
        (("delete", "Activation Date", ""), ItemNotFound),
        (("add", "x-big", "a" * 20_000), IndexOutofBounds),
    ],
    ids=str,
)
async def test_reasons(
    server: Server, request_: tuple[Any, ...], error: type[ProductError]
) -> None:
    key_id = await made(server, attribute("x-a", "1"), attribute("Contact Information", "a"))
    before = await values(server, key_id)
    request = changing(request_[0], key_id, *request_[1:])
    with pytest.raises(error) as refused:
        await do(server, request)
    assert type(refused.value) is error
    assert await values(server, key_id) == before
    assert (await trail(server))[-1] == (
        request.operation.value,
        key_id,
        refused.value.reason.value,
    )
    await server.boot()


async def test_an_index_given_with_a_new_attribute_is_refused(server: Server) -> None:
    key_id = await made(server)
    request = r.AddObjectAttribute(
        unique_identifier=key_id, attribute=attribute("x-a", "1", 3), indexed=True
    )
    with pytest.raises(InvalidField, match="server's"):
        await do(server, request)


async def test_indices_stay_with_their_instances(server: Server) -> None:
    """KMIP 1.4 section 2.1.1: deleting one instance moves no other."""
    key_id = await made(server)
    for number in range(3):
        assert (await add(server, key_id, "x-a", f"{number}")).index == number
    await do(server, r.DeleteObjectAttribute(unique_identifier=key_id, name="x-a", index=1))
    assert await values(server, key_id, "x-a") == [("x-a", 0, "0"), ("x-a", 2, "2")]
    assert (await add(server, key_id, "x-a", "3")).index == 3
    changed = r.ModifyObjectAttribute(
        unique_identifier=key_id, attribute=attribute("x-a", "new", 2)
    )
    assert (await do(server, changed)).attribute == attribute("x-a", "new", 2)
    gone = await do(server, r.DeleteObjectAttribute(unique_identifier=key_id, name="x-a"))
    assert gone.attribute == attribute("x-a", "0")
    assert await values(server, key_id, "x-a") == [("x-a", 2, "new"), ("x-a", 3, "3")]


async def test_no_two_keys_of_a_scope_have_one_name(server: Server) -> None:
    """Invalid Field of a template, Illegal Operation of Add and Modify (KMIP 1.4 section 11)."""
    first = await made(server, named("a"))
    with pytest.raises(InvalidField):
        await made(server, named("a"))
    with pytest.raises(InvalidField):
        await made(server, named("b"), named("b"))
    second = await made(server, named("b"))
    with pytest.raises(IllegalOperation, match=first):
        await add(server, second, "Name", ObjectName(value="a"))
    with pytest.raises(IllegalOperation):
        await do(server, changing("modify", second, "Name", ObjectName(value="a")))
    await made(server, named("a"), caller=STRANGER)  # of another scope
    await do(server, changing("delete", first, "Name", ""))
    await do(server, changing("modify", second, "Name", ObjectName(value="a")))


async def test_what_is_modified_for_itself_keeps_its_own_name(server: Server) -> None:
    key_id = await made(server, named("a"))
    before = await values(server, key_id, "Name")
    await do(server, changing("modify", key_id, "Name", ObjectName(value="a")))
    assert await values(server, key_id, "Name") == before == [("Name", 0, ObjectName(value="a"))]


ROADS: dict[KmipState, tuple[Any, ...]] = {
    KmipState.PRE_ACTIVE: (),
    KmipState.ACTIVE: (r.ActivateObject,),
    KmipState.DEACTIVATED: (r.ActivateObject, r.RevokeObject),
    KmipState.DESTROYED: (r.DestroyObject,),
}
SETTABLE = {
    "Activation Date": (KmipState.PRE_ACTIVE,),
    "Process Start Date": (KmipState.PRE_ACTIVE,),
    "Protect Stop Date": (KmipState.PRE_ACTIVE, KmipState.ACTIVE),
    "Deactivation Date": (KmipState.PRE_ACTIVE, KmipState.ACTIVE),
    "x-Name": tuple(KmipState),
}


@pytest.mark.parametrize("state", ROADS)
@pytest.mark.parametrize("name", SETTABLE)
async def test_dates_are_set_ahead_only(server: Server, name: str, state: KmipState) -> None:
    key_id = await made(server, attribute(name, SAMPLES[name]))
    for step in ROADS[state]:
        await do(server, step(unique_identifier=key_id))
    new: Value = "vm-02" if name == "x-Name" else 8e9
    request = changing("modify", key_id, name, new)
    if state in SETTABLE[name]:
        await do(server, request)
        assert await value(server, key_id, name) == new
    else:
        with pytest.raises(PermissionDenied):
            await do(server, request)


async def test_a_date_is_not_deleted(server: Server) -> None:
    key_id = await made(server, attribute("Activation Date", 5e9))
    with pytest.raises(PermissionDenied):
        await do(server, changing("delete", key_id, "Activation Date", ""))


async def test_deactivation_is_not_before_activation(server: Server) -> None:
    key_id = await made(server, attribute("Activation Date", 5e9))
    with pytest.raises(InvalidField):
        await add(server, key_id, "Deactivation Date", 4e9)


async def test_a_revocation_says_why_and_since_when(server: Server) -> None:
    key_id = await made(server)
    why = RevocationReason.KEY_COMPROMISE
    revoke = r.RevokeObject(unique_identifier=key_id, reason=why, message="lost", occurred=999.0)
    await do(server, revoke)
    asked = ("Revocation Reason", "Compromise Occurrence Date", "Compromise Date")
    assert await values(server, key_id, *asked) == [
        ("Revocation Reason", 0, Revocation(code=why, message="lost")),
        ("Compromise Occurrence Date", 0, 999.0),
        ("Compromise Date", 0, server.clock.wall),
    ]


@pytest.mark.parametrize("occurred", [-5.0, float("nan"), 2.0**62])
async def test_a_compromise_occurred_at_some_time(server: Server, occurred: float) -> None:
    """What is no date would stand in the index of dates in no order."""
    key_id = await made(server)
    why = RevocationReason.KEY_COMPROMISE
    with pytest.raises(InvalidField):
        await do(server, r.RevokeObject(unique_identifier=key_id, reason=why, occurred=occurred))
    assert await value(server, key_id, "State") == "Pre-Active"


async def test_a_key_full_of_attributes_is_revoked_all_the_same(server: Server) -> None:
    key_id = await made(server)
    with pytest.raises(IndexOutofBounds):
        for number in range(1000):
            await add(server, key_id, f"x-{number}", "y" * 100)
    why, limit = RevocationReason.KEY_COMPROMISE, MESSAGE_LIMIT
    with pytest.raises(InvalidField):
        long = r.RevokeObject(unique_identifier=key_id, reason=why, message="m" * (limit + 1))
        await do(server, long)
    told = r.RevokeObject(unique_identifier=key_id, reason=why, message="m" * limit, occurred=999.0)
    assert (await do(server, told)).state is KmipState.COMPROMISED
    with pytest.raises(IndexOutofBounds):
        await add(server, key_id, "x-more", "y" * 100)
    for operation, text in (("modify", "z" * 100), ("delete", "")):  # neither takes more room
        await do(server, changing(operation, key_id, "x-0", text))
    await server.boot()
    assert len(await values(server, key_id, "x-1", "Revocation Reason")) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        2**31,
        Typed(type=ItemType.INTERVAL, value=b"x"),
        Typed(type=ItemType.INTERVAL, value=-1),
        Typed(type=ItemType.ENUMERATION, value=2**32),
        Typed(type=ItemType.LONG_INTEGER, value=2**63),
        Typed(type=ItemType.DATE_TIME, value=-(2**63) - 1),
        Typed(type=ItemType.BYTE_STRING, value=3),
        Typed(type=ItemType.BIG_INTEGER, value=b""),
        Typed(type=ItemType.BIG_INTEGER, value=b"1234567"),
        CryptographicParametersValue(tag_length=2**40),
    ],
    ids=str,
)
async def test_a_value_that_kmip_has_no_place_for_is_refused(server: Server, wrong: Value) -> None:
    """Stored, it could never be told to a client that speaks TTLV."""
    name = "Cryptographic Parameters" if isinstance(wrong, CryptographicParametersValue) else "x-a"
    key_id = await made(server)
    with pytest.raises(InvalidField):
        await add(server, key_id, name, wrong)


async def test_attributes_outlive_the_key(server: Server) -> None:
    """OASIS SKLC-O-1: they are told of a destroyed key too, its digest with them."""
    key_id = await made(server, named("a"), attribute("x-a", "1"))
    before = dict((name, value) for name, _, value in await values(server, key_id))
    server.clock.wall += 5
    await do(server, r.DestroyObject(unique_identifier=key_id))
    after = dict((name, value) for name, _, value in await values(server, key_id))
    assert after == before | {
        "State": "Destroyed",
        "Destroy Date": server.clock.wall,
        "Last Change Date": server.clock.wall,
    }


@pytest.mark.parametrize("operation", ["add", "modify", "delete"])
async def test_another_scope_has_no_such_key(server: Server, operation: str) -> None:
    key_id = await made(server, attribute("x-a", "1"))
    for caller, there in ((STRANGER, key_id), (OWNER, NOBODY)):
        with pytest.raises(ItemNotFound):
            await do(server, changing(operation, there, "x-a", "2"), caller)
        with pytest.raises(ItemNotFound):
            await do(server, r.ListObjectAttributes(unique_identifier=there), caller)
        asked = r.GetObjectAttributes(unique_identifiers=(there,), names=())
        assert (await do(server, asked, caller)).objects == ()
    assert await values(server, key_id, "x-a") == [("x-a", 0, "1")]


async def test_vcenter_adds_and_changes_nothing(server: Server) -> None:
    from services.kms.access.authorization import caller_at

    client = caller_at(CONFIG, VCENTER.node, local=False)
    key_id = (await do(server, r.Create(operation_id="1"), client)).unique_identifier
    await do(server, changing("add", key_id, "x-Name", "vm-01"), client)
    for operation in ("modify", "delete"):
        with pytest.raises(PermissionDenied):
            await do(server, changing(operation, key_id, "x-Name", "vm-02"), client)


@pytest.mark.parametrize("column", ["attributes", "digest"])
async def test_an_edited_attribute_is_refused(server: Server, column: str) -> None:
    """The tag of a row binds its attributes and its digest too."""
    await made(server, attribute("x-a", "1"))
    other = await made(server, attribute("x-a", "2"))
    [[stolen]] = server.platter.sql(f"SELECT {column} FROM keys WHERE key_id = ?", other)  # noqa: S608
    server.platter.sql(f"UPDATE keys SET {column} = ? WHERE key_id <> ?", stolen, other)  # noqa: S608
    with pytest.raises(Halted, match="altered"):
        await server.boot()


async def test_a_database_of_an_older_format_is_not_served_from(server: Server) -> None:
    await made(server)
    server.platter.sql("UPDATE format SET number = 2")
    with pytest.raises(Halted, match="format 2, and this version has 3"):
        await server.boot()
    server.platter.sql("DELETE FROM format")
    with pytest.raises(Halted, match="format 1, and this version has 3"):
        await server.boot()


@pytest.mark.parametrize(
    "value",
    [
        Typed(type=ItemType.BIG_INTEGER, value=7),
        Typed(type=ItemType.BIG_INTEGER, value=b"7 bytes"),
        Typed(type=ItemType.BIG_INTEGER, value=b""),
        Typed(type=ItemType.BYTE_STRING, value=7),
        Typed(type=ItemType.INTERVAL, value=-1),
        Typed(type=ItemType.ENUMERATION, value=2**32),
        Typed(type=ItemType.DATE_TIME, value=b"now"),
        Structure(fields=(StructureField(2**24, "x"),)),
        Structure(fields=(StructureField(0x540001, 2**31),)),
        Structure(fields=(StructureField(1, Typed(type=ItemType.INTERVAL, value=-1)),)),
    ],
    ids=repr,
)
async def test_a_value_that_kmip_cannot_write_is_refused(
    server: Server, value: Typed | Structure
) -> None:
    key = await made(server)
    with pytest.raises(InvalidField):
        await add(server, key, "x-own", value)
