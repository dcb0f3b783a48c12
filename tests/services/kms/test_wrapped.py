"""Get of a key that leaves under another one: what it is then, and who may have it so."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_unwrap

from protocol.attributes import Attribute, UsageLimitsValue, Value
from protocol.crypto.wrap import wrap_key
from protocol.errors import InvalidField
from protocol.kmip import objects as s
from protocol.kmip import payloads as p
from protocol.kmip.algorithms import BlockCipherMode, EncodingOption, KeyFormatType, WrappingMethod
from protocol.kmip.enums import ResultReason
from protocol.kmip.objects import (
    EncryptionKeyInformation,
    KeyBlock,
    KeyWrappingSpecification,
    MACSignatureKeyInformation,
    SymmetricKey,
)
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import parse
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.access.authorization import KeyServerCaller
from services.kms.objects import request_types as r
from services.kms.settings.config import KmsRole
from tests.services.kms.core_rig import STRANGER, do, made, trail, value
from tests.services.kms.kmip_rig import Client
from tests.services.kms.ports import Server

KEK, DATA = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")
WRAPPED = bytes.fromhex("1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5")
WRAP_KEY = 16
NO_ENCODING = EncodingOption.NO_ENCODING


def test_the_vector_of_the_standard() -> None:
    """RFC 3394 section 4.1."""
    assert wrap_key(KeyMaterial(KEK), KeyMaterial(DATA)) == WRAPPED
    for size in (0, 8, 10, 17):
        with pytest.raises(InvalidField):
            wrap_key(KeyMaterial(KEK), KeyMaterial(bytes(size)))


async def kek(server: Server, mask: int = WRAP_KEY, *attributes: Attribute) -> KeyId:
    key = r.Register(
        material=KeyMaterial(KEK), length=128, usage_mask=mask, attributes=tuple(attributes)
    )
    made_ = (await do(server, key)).unique_identifier
    await do(server, r.ActivateObject(unique_identifier=made_))
    return made_


async def brought(server: Server) -> KeyId:
    key = r.Register(material=KeyMaterial(DATA), length=128)
    return (await do(server, key)).unique_identifier


def asked(key: KeyId, under: KeyId, **more: Any) -> p.GetRequest:
    fields: dict[str, Any] = {
        "wrapping_method": WrappingMethod.ENCRYPT,
        "encryption_key_information": EncryptionKeyInformation(unique_identifier=under),
    }
    kind = more.pop("key_format_type", None)
    specification = KeyWrappingSpecification(**(fields | more))
    return p.GetRequest(
        unique_identifier=key, key_format_type=kind, key_wrapping_specification=specification
    )


async def block(client: Client, request: p.GetRequest) -> KeyBlock:
    got = (await client.ask(request, p.GetResponse)).object
    assert isinstance(got, SymmetricKey)
    return got.key_block


async def test_bytes_alone_are_those_of_the_standard(server: Server) -> None:
    """OASIS TC-141; the trail tells of both keys."""
    key, under, client = await brought(server), await kek(server), Client(server)
    found = await block(client, asked(key, under, encoding_option=NO_ENCODING))
    assert found.key_value == KeyMaterial(WRAPPED)
    assert found.key_wrapping_data is not None
    assert found.key_wrapping_data.encryption_key_information is not None
    assert found.key_wrapping_data.encryption_key_information.unique_identifier == under
    assert (await trail(server))[-3:] == [
        ("Get", key, "Success"),
        ("Encrypt", under, "Success"),
        ("Serve", key, "Success"),
    ]
    await server.boot()


async def test_the_trail_tells_of_no_key_that_can_not_be_wrapped(server: Server) -> None:
    """Nor is the wrapping key used up for it, nor is the key fresh no more."""
    limits = Attribute(name="Usage Limits", value=UsageLimitsValue(total=99, unit="Byte"))
    under, client = await kek(server, WRAP_KEY, limits), Client(server)
    short = r.Register(material=KeyMaterial(bytes(10)), algorithm="SKIPJACK", length=80)
    odd, key = (await do(server, short)).unique_identifier, await brought(server)
    structure = KeyFormatType.TRANSPARENT_SYMMETRIC_KEY
    before = await trail(server)
    for request, reason in (
        (asked(odd, under, encoding_option=NO_ENCODING), ResultReason.INVALID_FIELD),
        (
            asked(key, under, encoding_option=NO_ENCODING, key_format_type=structure),
            ResultReason.ENCODING_OPTION_ERROR,
        ),
    ):
        assert await client.refused(request) is reason
    assert [(row[0], row[2]) for row in (await trail(server))[len(before) :]] == [
        ("Get", "Invalid Field"),
        ("Get", "Encoding Option Error"),
    ]
    assert await value(server, under, "Usage Limits") == UsageLimitsValue(total=99, unit="Byte")
    assert await value(server, key, "Fresh") is True


@pytest.mark.parametrize("kind", [None, KeyFormatType.TRANSPARENT_SYMMETRIC_KEY])
async def test_without_a_wish_all_that_would_stand_there_is_wrapped(
    server: Server, kind: KeyFormatType | None
) -> None:
    key, under, client = await brought(server), await kek(server), Client(server)
    names = ("Cryptographic Usage Mask", "x-no")
    request = asked(key, under, attribute_name=names, key_format_type=kind)
    found = await block(client, request)
    assert isinstance(found.key_value, KeyMaterial)
    node = parse(aes_key_unwrap(KEK, found.key_value.reveal()))
    assert node.tag == Tag.KEY_VALUE
    material, attribute = node.items()
    inner = material if kind is None else material.items()[0]
    assert (material.tag, inner.value) == (Tag.KEY_MATERIAL, DATA)
    assert [one.value for one in attribute.items()] == ["Cryptographic Usage Mask", 12]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"wrapping_method": WrappingMethod.MAC_SIGN}, ResultReason.FEATURE_NOT_SUPPORTED),
        (
            {"mac_signature_key_information": MACSignatureKeyInformation(unique_identifier="k")},
            ResultReason.FEATURE_NOT_SUPPORTED,
        ),
        ({"encryption_key_information": None}, ResultReason.FEATURE_NOT_SUPPORTED),
        (
            {
                "encryption_key_information": EncryptionKeyInformation(
                    unique_identifier="no such key"
                )
            },
            ResultReason.ITEM_NOT_FOUND,
        ),
        (
            {"encoding_option": NO_ENCODING, "attribute_name": ("State",)},
            ResultReason.ENCODING_OPTION_ERROR,
        ),
        (
            {
                "encoding_option": NO_ENCODING,
                "key_format_type": KeyFormatType.TRANSPARENT_SYMMETRIC_KEY,
            },
            ResultReason.ENCODING_OPTION_ERROR,
        ),
    ],
    ids=str,
)
async def test_what_is_not_wrapped_does_not_leave(
    server: Server, more: dict[str, Any], reason: ResultReason
) -> None:
    key, under = await brought(server), await kek(server)
    assert await Client(server).refused(asked(key, under, **more)) is reason


async def test_a_mode_that_is_not_built_is_refused(server: Server) -> None:
    key, under = await brought(server), await kek(server)
    mode = s.CryptographicParameters(block_cipher_mode=BlockCipherMode.CBC)
    information = EncryptionKeyInformation(unique_identifier=under, cryptographic_parameters=mode)
    request = asked(key, under, encryption_key_information=information)
    assert await Client(server).refused(request) is ResultReason.FEATURE_NOT_SUPPORTED


async def test_which_key_wraps(server: Server) -> None:
    key, plain = await brought(server), await kek(server, 12)
    early = await do(server, r.Create(usage_mask=WRAP_KEY))
    late = await kek(server)
    await do(server, r.RevokeObject(unique_identifier=late))
    over = await kek(server, WRAP_KEY, Attribute(name="Protect Stop Date", value=5.0))
    foreign = await do(server, r.Create(usage_mask=WRAP_KEY), STRANGER)
    denied, client = ResultReason.PERMISSION_DENIED, Client(server)
    for under, reason in (
        (plain, denied),
        (early.unique_identifier, denied),
        (late, denied),
        (over, denied),
        (foreign.unique_identifier, ResultReason.ITEM_NOT_FOUND),
    ):
        assert await client.refused(asked(key, under)) is reason
    assert await value(server, key, "Fresh") is True, "nobody was given it"


async def test_wrapping_counts_for_the_limits_of_the_key_that_wraps(server: Server) -> None:
    limits: Value = UsageLimitsValue(total=20, unit="Byte")
    key, client = await brought(server), Client(server)
    under = await kek(server, WRAP_KEY, Attribute(name="Usage Limits", value=limits))
    await block(client, asked(key, under))
    assert await client.refused(asked(key, under)) is ResultReason.PERMISSION_DENIED


async def test_who_may_not_get_a_key_gets_it_wrapped_neither(server: Server) -> None:
    key, under = await made(server), await kek(server)
    request = r.Get(unique_identifiers=(key,), wrapping=r.KeyWrapping(key_id=under))
    with pytest.raises(Exception, match="may not Get"):
        await do(server, request, KeyServerCaller("who", KmsRole.OPERATOR, "default"))
