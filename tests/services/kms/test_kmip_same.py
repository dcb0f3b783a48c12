"""Both doors ask the core the same and are answered the same; attributes come back as they went."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.attributes import (
    ApplicationData,
    Attribute,
    CryptographicParametersValue,
    ItemType,
    ObjectDigest,
    ObjectLink,
    ObjectName,
    Revocation,
    Typed,
    UsageLimitsValue,
    Value,
)
from protocol.errors import InvalidField
from protocol.kmip import objects as s
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import (
    BlockCipherMode,
    CryptographicAlgorithm,
    HashingAlgorithm,
    KeyFormatType,
    PaddingMethod,
)
from protocol.kmip.enums import (
    Code,
    LinkType,
    NameType,
    ObjectType,
    RevocationReasonCode,
    State,
    UsageLimitsUnit,
)
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    ResponseHeader,
    ResponseMessage,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from protocol.kmip.objects import Attribute as WireAttribute
from protocol.kmip.objects import KeyBlock, KeyValue, SymmetricKey
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, RevocationReason
from services.kms.endpoints.kmip import values
from services.kms.endpoints.kmip.items import reason_of
from services.kms.endpoints.kmip.operations import SPOKEN, AnswerContext, in_order
from services.kms.endpoints.kmip.values import code_of, name_of
from services.kms.objects import request_types as r
from services.kms.operations.batches import Continuation
from tests.services.kms.core_rig import OWNER, do
from tests.services.kms.kmip_rig import (
    OPERATIONS,
    Client,
    message,
    new_key,
    reason,
    template,
    version,
)
from tests.services.kms.ports import Server

SECRET = KeyMaterial(bytes(range(16)))
DATA = KeyMaterial(b"a message")
GCM = CryptographicParametersValue(block_cipher_mode="GCM", tag_length=16)
FIRST = KeyId("")  # the key that the story begins with


def wire(name: str, value: Any) -> WireAttribute:
    return WireAttribute(attribute_name=name, attribute_value=value)


NAME = wire("Name", s.Name(name_value="k", name_type=NameType.URI))
BROUGHT = SymmetricKey(
    key_block=KeyBlock(
        key_format_type=KeyFormatType.RAW,
        key_value=KeyValue(key_material=SECRET),
        cryptographic_algorithm=CryptographicAlgorithm.AES,
        cryptographic_length=128,
    )
)
LIMITS = s.UsageLimits(usage_limits_total=9, usage_limits_unit=UsageLimitsUnit.BYTE)
STORY: list[tuple[Fields, r.CoreRequest[Any]]] = [
    (new_key(), r.Create()),
    (
        new_key(NAME, wire("x-Product", "VMware vSphere"), wire("Activation Date", 5)),
        r.Create(
            attributes=(
                Attribute(name="Name", value=ObjectName(value="k", type="URI")),
                Attribute(name="x-Product", value="VMware vSphere"),
                Attribute(name="Activation Date", value=5.0),
            )
        ),
    ),
    (
        p.RegisterRequest(
            object_type=ObjectType.SYMMETRIC_KEY,
            template_attribute=template(bits=128, mask=4),
            object=BROUGHT,
        ),
        r.Register(material=SECRET, length=128, usage_mask=4),
    ),
    (
        p.GetRequest(unique_identifier=FIRST),
        r.Get(unique_identifiers=(FIRST,), required=True),
    ),
    (
        p.GetAttributesRequest(unique_identifier=FIRST),
        r.GetObjectAttributes(unique_identifiers=(FIRST,), names=(), required=True),
    ),
    (
        p.GetAttributesRequest(unique_identifier=FIRST, attribute_name=("State", "x-No")),
        r.GetObjectAttributes(unique_identifiers=(FIRST,), names=("State", "x-No"), required=True),
    ),
    (
        p.GetAttributeListRequest(unique_identifier=FIRST),
        r.ListObjectAttributes(unique_identifier=FIRST),
    ),
    (
        p.AddAttributeRequest(unique_identifier=FIRST, attribute=wire("x-Name", "vm-1")),
        r.AddObjectAttribute(
            unique_identifier=FIRST, attribute=Attribute(name="x-Name", value="vm-1")
        ),
    ),
    (
        p.ModifyAttributeRequest(unique_identifier=FIRST, attribute=wire("x-Name", "vm-2")),
        r.ModifyObjectAttribute(
            unique_identifier=FIRST, attribute=Attribute(name="x-Name", value="vm-2")
        ),
    ),
    (
        p.AddAttributeRequest(unique_identifier=FIRST, attribute=wire("State", State.ACTIVE)),
        r.AddObjectAttribute(
            unique_identifier=FIRST, attribute=Attribute(name="State", value="Active")
        ),
    ),
    (
        p.DeleteAttributeRequest(unique_identifier=FIRST, attribute_name="x-Name"),
        r.DeleteObjectAttribute(unique_identifier=FIRST, name="x-Name"),
    ),
    (
        p.EncryptRequest(unique_identifier=FIRST, data=DATA, iv_counter_nonce=bytes(12)),
        r.EncryptData(unique_identifier=FIRST, data=DATA, iv=bytes(12)),
    ),
    (
        p.ActivateRequest(unique_identifier=FIRST),
        r.ActivateObject(unique_identifier=FIRST),
    ),
    (
        p.ActivateRequest(unique_identifier=FIRST),
        r.ActivateObject(unique_identifier=FIRST),
    ),
    (
        p.DestroyRequest(unique_identifier=FIRST),
        r.DestroyObject(unique_identifier=FIRST),
    ),
    (
        p.EncryptRequest(
            unique_identifier=FIRST,
            cryptographic_parameters=s.CryptographicParameters(
                block_cipher_mode=BlockCipherMode.GCM, tag_length=16
            ),
            data=DATA,
            iv_counter_nonce=bytes(12),
            authenticated_encryption_additional_data=b"bound",
        ),
        r.EncryptData(
            unique_identifier=FIRST,
            parameters=GCM,
            data=DATA,
            iv=bytes(12),
            additional_data=b"bound",
        ),
    ),
    (
        p.DecryptRequest(
            unique_identifier=FIRST,
            data=b"?",
            iv_counter_nonce=bytes(12),
            authenticated_encryption_tag=bytes(16),
        ),
        r.DecryptData(unique_identifier=FIRST, data=b"?", iv=bytes(12), tag=bytes(16)),
    ),
    (
        p.LocateRequest(attribute=(NAME,), maximum_items=5, offset_items=1),
        r.LocateObjects(
            attributes=(Attribute(name="Name", value=ObjectName(value="k", type="URI")),),
            destroyed=False,
            maximum_items=5,
            offset_items=1,
        ),
    ),
    (p.LocateRequest(), r.LocateObjects(destroyed=False, maximum_items=10_000)),
    (
        p.AddAttributeRequest(unique_identifier=FIRST, attribute=wire("Usage Limits", LIMITS)),
        r.AddObjectAttribute(
            unique_identifier=FIRST,
            attribute=Attribute(name="Usage Limits", value=UsageLimitsValue(total=9, unit="Byte")),
        ),
    ),
    (
        p.CheckRequest(unique_identifier=FIRST, usage_limits_count=10, lease_time=5),
        r.CheckUsage(unique_identifier=FIRST, usage_limits_count=10, lease_time=5),
    ),
    (
        p.GetUsageAllocationRequest(unique_identifier=FIRST, usage_limits_count=9),
        r.GetUsageAllocation(unique_identifier=FIRST, count=9),
    ),
    (
        p.ObtainLeaseRequest(unique_identifier=FIRST),
        r.ObtainLease(unique_identifier=FIRST),
    ),
    (
        p.ReKeyRequest(unique_identifier=FIRST, offset=5),
        r.ReKey(unique_identifier=FIRST, offset=5),
    ),
    (
        p.LocateRequest(attribute=(wire("Initial Date", 7),)),
        r.LocateObjects(
            attributes=(
                Attribute(name="Initial Date", value=7.0),
                Attribute(name="Initial Date", value=8 - 1e-6),
            ),
            destroyed=False,
            maximum_items=10_000,
        ),
    ),
    (
        p.RevokeRequest(
            unique_identifier=FIRST,
            revocation_reason=s.RevocationReason(
                revocation_reason_code=RevocationReasonCode.KEY_COMPROMISE,
                revocation_message="lost",
            ),
            compromise_occurrence_date=6,
        ),
        r.RevokeObject(
            unique_identifier=FIRST,
            reason=RevocationReason.KEY_COMPROMISE,
            message="lost",
            occurred=6.0,
        ),
    ),
    (
        p.GetAttributesRequest(unique_identifier=FIRST),
        r.GetObjectAttributes(unique_identifiers=(FIRST,), names=(), required=True),
    ),
    (
        p.DestroyRequest(unique_identifier=FIRST),
        r.DestroyObject(unique_identifier=FIRST),
    ),
    (
        p.GetRequest(unique_identifier=FIRST),
        r.Get(unique_identifiers=(FIRST,), required=True),
    ),
    (p.QueryRequest(query_function=(1,)), r.Query()),
    (p.DiscoverVersionsRequest(), r.DiscoverServerVersions()),
]


def about(struct: Any, key: KeyId) -> Any:
    """The same with the id of the first key."""
    changes: dict[str, Any] = {}
    if getattr(struct, "unique_identifier", None) == FIRST:
        changes["unique_identifier"] = key
    if getattr(struct, "unique_identifiers", None) == (FIRST,):
        changes["unique_identifiers"] = (key,)
    return type(struct)(**{n: getattr(struct, n) for n in struct.__struct_fields__} | changes)


async def test_the_story_is_the_same_through_both_doors() -> None:
    ours, theirs = Server(), Server()
    await ours.boot()
    await theirs.boot()
    client, key, told = Client(theirs), FIRST, set[type]()
    for payload, request in STORY:
        payload, request = about(payload, key), about(request, key)
        asked = decode_request(encode_request(message(payload))).batch_item[0].request_payload
        spoken = SPOKEN[OPERATIONS[type(payload)]]
        assert spoken.read(asked) == request
        request = in_order(request, client.minor)
        [mine] = await ours.service.core.process(OWNER, (request,), Continuation.STOP)
        [item] = await client.items(payload)
        if mine.error is not None:
            assert reason(item) is reason_of(mine.error, 4)
            assert item.result_message == str(mine.error)
        else:
            assert item.response_payload == sent(
                spoken.write(AnswerContext(asked, 4), mine.response), item
            )
            told.add(type(payload))
        if isinstance(mine.response, r.Created) and not key:
            key = mine.response.unique_identifier
    assert told == {pair[0] for pair in p.PAYLOADS.values()} - {p.DecryptRequest}
    rows = "SELECT who, operation, key_id, result FROM audit ORDER BY sequence"
    assert ours.platter.sql(rows) == theirs.platter.sql(rows)


async def test_what_one_door_encrypts_the_other_decrypts(server: Server) -> None:
    client = Client(server)
    key = KeyId(await client.made(wire("Activation Date", 0)))
    request = p.EncryptRequest(
        unique_identifier=key,
        cryptographic_parameters=s.CryptographicParameters(random_iv=True),
        data=DATA,
        authenticated_encryption_additional_data=b"bound",
    )
    done = await client.ask(request, p.EncryptResponse)
    assert done.data is not None
    assert done.iv_counter_nonce is not None
    assert done.authenticated_encryption_tag is not None
    back = r.DecryptData(
        unique_identifier=key,
        data=done.data,
        iv=done.iv_counter_nonce,
        additional_data=b"bound",
        tag=done.authenticated_encryption_tag,
    )
    assert (await do(server, back)).data == DATA
    asked = p.DecryptRequest(
        unique_identifier=key,
        data=done.data,
        iv_counter_nonce=done.iv_counter_nonce,
        authenticated_encryption_additional_data=b"bound",
        authenticated_encryption_tag=done.authenticated_encryption_tag,
    )
    assert (await client.ask(asked, p.DecryptResponse)).data == DATA


def sent(payload: Fields, item: Any) -> Any:
    """The payload after its way over the wire."""
    header = ResponseHeader(protocol_version=version(4), time_stamp=0, batch_count=1)
    made = ResponseMessage(
        response_header=header,
        batch_item=(
            type(item)(
                operation=item.operation,
                result_status=item.result_status,
                response_payload=payload,
            ),
        ),
    )
    return decode_response(encode_response(made)).batch_item[0].response_payload


VALUES: list[tuple[str, Value]] = [
    ("Usage Limits", UsageLimitsValue(total=2**40, unit="Object")),
    ("Name", ObjectName(value="Zo\u00eb")),
    ("Link", ObjectLink(type="Replaced Object Link", linked="another")),
    ("Digest", ObjectDigest(digest=bytes(32))),
    ("Application Specific Information", ApplicationData(namespace="ns", data="d")),
    ("Revocation Reason", Revocation(code=RevocationReason.CA_COMPROMISE, message="m")),
    (
        "Cryptographic Parameters",
        CryptographicParametersValue(
            block_cipher_mode="CBC", padding_method="PKCS5", hashing_algorithm="SHA-256"
        ),
    ),
    ("State", "Destroyed Compromised"),
    ("Object Type", "Symmetric Key"),
    ("Cryptographic Algorithm", "3DES"),
    ("Cryptographic Length", 256),
    ("Activation Date", 5.0),
    ("Contact Information", "who"),
    ("x-text", "text"),
    ("x-number", -5),
    ("x-truth", True),
    ("x-long", Typed(type=ItemType.LONG_INTEGER, value=-7)),
    ("x-bytes", Typed(type=ItemType.BYTE_STRING, value=b"raw")),
    ("x-big", Typed(type=ItemType.BIG_INTEGER, value=bytes(8))),
    ("x-date", Typed(type=ItemType.DATE_TIME, value=7)),
    ("x-code", Typed(type=ItemType.ENUMERATION, value=7)),
    ("x-interval", Typed(type=ItemType.INTERVAL, value=7)),
]


@pytest.mark.parametrize(("name", "value"), VALUES, ids=lambda v: str(v)[:30])
def test_a_value_comes_back_as_it_went(name: str, value: Value) -> None:
    attribute = Attribute(name=name, index=2, value=value)
    request = message(
        p.ModifyAttributeRequest(unique_identifier="k", attribute=values.write(attribute, 4))
    )
    payload = decode_request(encode_request(request)).batch_item[0].request_payload
    assert isinstance(payload, p.ModifyAttributeRequest)
    assert values.read(payload.attribute) == attribute


def test_a_number_beyond_an_integer_is_a_long_one() -> None:
    written = values.write(Attribute(name="x-n", value=2**40), 4)
    assert values.read(written).value == Typed(type=ItemType.LONG_INTEGER, value=2**40)


ENUMERATIONS = (
    BlockCipherMode,
    CryptographicAlgorithm,
    HashingAlgorithm,
    KeyFormatType,
    LinkType,
    NameType,
    ObjectType,
    PaddingMethod,
    RevocationReasonCode,
    State,
)


@pytest.mark.parametrize("cls", ENUMERATIONS, ids=lambda cls: cls.__name__)
def test_every_name_leads_back_to_its_number(cls: type[Code]) -> None:
    names = [name_of(cls, code) for code in cls]
    assert [code_of(cls, name) for name in names] == list(cls)
    assert code_of(cls, name_of(cls, 0x80000007)) == 0x80000007
    with pytest.raises(InvalidField):
        name_of(cls, 0x7777)
    for bad in ("", "Nothing", "0x00000001", "0x8000000g"):
        with pytest.raises(InvalidField):
            code_of(cls, bad)


def test_words_of_the_core_are_those_of_kmip() -> None:
    assert [name_of(State, code) for code in State] == list(KmipState)
    assert [name_of(RevocationReasonCode, code) for code in RevocationReasonCode] == list(
        RevocationReason
    )
    assert name_of(ObjectType, ObjectType.SYMMETRIC_KEY) == "Symmetric Key"
