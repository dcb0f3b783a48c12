"""Conversations in XML become trees: every kind of value, variables, and what is refused."""

from __future__ import annotations

import pytest

from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.cases import CaseError, CaseMessage, read_case
from protocol.kmip.enums import Operation
from protocol.kmip.message import decode_request, decode_response
from protocol.kmip.objects import Attribute
from protocol.kmip.payloads import CreateRequest, CreateResponse
from protocol.kmip.ttlv import TtlvItem, Type, encode

HEAD = """
 <ProtocolVersion>
  <ProtocolVersionMajor type="Integer" value="1"/>
  <ProtocolVersionMinor type="Integer" value="2"/>
 </ProtocolVersion>
"""
CASE = f"""<?xml version="1.0"?>
<KMIP> # TIME 0
<RequestMessage><RequestHeader>{HEAD}<BatchCount type="Integer" value="1"/></RequestHeader>
<BatchItem><Operation type="Enumeration" value="Create"/><RequestPayload>
 <ObjectType type="Enumeration" value="SymmetricKey"/>
 <TemplateAttribute>
  <Attribute>
   <AttributeName type="TextString" value="Cryptographic Algorithm"/>
   <AttributeValue type="Enumeration" value="AES"/>
  </Attribute>
  <Attribute>
   <AttributeName type="TextString" value="Cryptographic Usage Mask"/>
   <AttributeValue type="Integer" value="Encrypt   Decrypt"/>
  </Attribute>
  <Attribute>
   <AttributeName type="TextString" value="Activation Date"/>
   <AttributeValue type="DateTime" value="$NOW-3600"/>
  </Attribute>
 </TemplateAttribute>
</RequestPayload></BatchItem></RequestMessage>
<ResponseMessage><ResponseHeader>{HEAD}
 <TimeStamp type="DateTime" value="2012-04-27T08:12:24+00:00"/>
 <BatchCount type="Integer" value="1"/></ResponseHeader>
<BatchItem><Operation type="Enumeration" value="Create"/>
 <ResultStatus type="Enumeration" value="Success"/>
 <ResponsePayload>
  <ObjectType type="Enumeration" value="SymmetricKey"/>
  <UniqueIdentifier type="TextString" value="$UNIQUE_IDENTIFIER_0"/>
 </ResponsePayload>
</BatchItem></ResponseMessage>
# TIME 3
<RequestMessage/><ResponseMessage/>
<RequestMessage/><ResponseMessage/>
</KMIP>"""
KNOWN = {"NOW": "1700000000", "UNIQUE_IDENTIFIER_0": "an id"}


def test_a_conversation_becomes_messages() -> None:
    first, *others = read_case(CASE)
    assert [exchange.time for exchange in (first, *others)] == [0, 3, 3]
    [item] = decode_request(encode(first.request.node(KNOWN))).batch_item
    assert item.operation is Operation.CREATE
    assert isinstance(item.request_payload, CreateRequest)
    assert item.request_payload.template_attribute.attribute == (
        Attribute(
            attribute_name="Cryptographic Algorithm", attribute_value=CryptographicAlgorithm.AES
        ),
        Attribute(attribute_name="Cryptographic Usage Mask", attribute_value=12),
        Attribute(attribute_name="Activation Date", attribute_value=1_699_996_400),
    )
    response = decode_response(encode(first.response.node(KNOWN)))
    assert response.response_header.time_stamp == 1_335_514_344
    payload = response.batch_item[0].response_payload
    assert isinstance(payload, CreateResponse)
    assert payload.unique_identifier == "an id"


def test_variables_are_named_before_they_have_values() -> None:
    [first, *_] = read_case(CASE)
    assert first.request.variables() == ("NOW",)
    assert first.response.variables() == ("UNIQUE_IDENTIFIER_0",)
    with pytest.raises(CaseError, match=r"UniqueIdentifier: \$UNIQUE_IDENTIFIER_0 is not known"):
        first.response.node({})


def only(item: str) -> CaseMessage:
    """A request that has this one thing in it."""
    text = f"<KMIP><RequestMessage>{item}</RequestMessage><ResponseMessage/></KMIP>"
    return read_case(text)[0].request


@pytest.mark.parametrize(
    ("item", "kind", "value"),
    [
        ('<Offset type="Interval" value="10"/>', Type.INTERVAL, 10),
        ('<UsageLimitsTotal type="LongInteger" value="-5"/>', Type.LONG_INTEGER, -5),
        (
            '<P type="BigInteger" value="0000000000010001"/>',
            Type.BIG_INTEGER,
            b"\0" * 5 + b"\1\0\1",
        ),
        ('<KeyMaterial type="ByteString" value="0aFF"/>', Type.BYTE_STRING, b"\n\xff"),
        ('<KeyMaterial type="ByteString" value="$KEY"/>', Type.BYTE_STRING, b"\1"),
        ('<Fresh type="Boolean" value="true"/>', Type.BOOLEAN, True),
        ('<Fresh type="Boolean" value="false"/>', Type.BOOLEAN, False),
        (
            '<NameValue type="TextString" value="$5 and Zo\u00eb"/>',
            Type.TEXT_STRING,
            "$5 and Zo\u00eb",
        ),
        ('<OpaqueDataType type="Enumeration" value="0x80000001"/>', Type.ENUMERATION, 0x80000001),
        ('<PaddingMethod type="Enumeration" value="PKCS5"/>', Type.ENUMERATION, 3),
        ('<StorageStatusMask type="Integer" value="OnLineStorage"/>', Type.INTEGER, 1),
        ('<TTLV tag="0x540001" type="Integer" value="7"/>', Type.INTEGER, 7),
        ('<TimeStamp type="DateTime" value="1970-01-01T00:00:09"/>', Type.DATE_TIME, 9),
        ('<TimeStamp type="DateTime" value="1970-01-01T01:00:09+01:00"/>', Type.DATE_TIME, 9),
        ('<TimeStamp type="DateTime" value="$NOW"/>', Type.DATE_TIME, 11),
        ("<VendorExtension/>", Type.STRUCTURE, ()),
    ],
)
def test_every_kind_of_value_is_read(item: str, kind: Type, value: object) -> None:
    [found] = only(item).node({"KEY": "01", "NOW": "11"}).items()
    assert isinstance(found, TtlvItem)
    assert (found.type, found.value) == (kind, value)


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ('<Fee type="Integer" value="1"/>', "Fee is no tag"),
        ('<TTLV tag="540001" type="Integer" value="1"/>', "TTLV is no tag"),
        ('<Offset type="Float" value="1"/>', "Float is no type"),
        ('<Offset type="Interval" value="ten"/>', "Offset: 'ten' is no Interval of Offset"),
        ('<Fresh type="Boolean" value="TRUE"/>', "is no Boolean"),
        ('<PaddingMethod type="Enumeration" value="PKCS9"/>', "is no Enumeration of PaddingMethod"),
        ('<KeyMaterial type="ByteString" value="xyz"/>', "is no ByteString"),
        ('<StorageStatusMask type="Integer" value="InTheCloud"/>', "is no Integer of Storage"),
        ('<TimeStamp type="DateTime" value="yesterday"/>', "is no DateTime"),
        ('<TimeStamp type="DateTime" value="$NOW+1"/>', r"TimeStamp: \$NOW is not known"),
    ],
)
def test_what_cannot_be_read_is_said(item: str, text: str) -> None:
    with pytest.raises(CaseError, match=text):
        only(item).node({})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no XML"),
        ("<KMIP>", "no XML"),
        ("<Kmip/>", "no conversation"),
        ("<KMIP><RequestMessage/></KMIP>", "no conversation"),
        ("<KMIP><ResponseMessage/><RequestMessage/></KMIP>", "no conversation"),
    ],
)
def test_a_file_that_is_no_conversation_is_said(text: str, why: str) -> None:
    with pytest.raises(CaseError, match=why):
        read_case(text)
