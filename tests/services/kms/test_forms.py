"""Messages that are known by their form: what is found is what the decoder reads, and what is
answered is what the encoder writes."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from protocol.kmip.algorithms import KeyFormatType
from protocol.kmip.enums import CredentialType, KmipError
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    Authentication,
    Credential,
    RequestItem,
    RequestMessage,
    UsernameAndPassword,
    decode_request,
    encode_request,
)
from protocol.kmip.payloads import GetRequest
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.endpoints.kmip import forms
from services.kms.endpoints.kmip.forms import Forms, GetForm
from services.kms.endpoints.kmip.messages import Messages
from services.kms.objects.request_types import GotKey
from tests.services.kms.kmip_rig import OPERATIONS, message
from tests.services.kms.lazy_rig import BUFFERED, HeldClock
from tests.services.kms.ports import Server

WORD = UsernameAndPassword(username="somebody", password=KeyMaterial(b"a word"))
KNOWN = Authentication(
    credential=(
        Credential(credential_type=CredentialType.USERNAME_AND_PASSWORD, credential_value=WORD),
    )
)


def get(name: str, batch_id: bytes | None = None, **more: Any) -> RequestMessage:
    fields = {name: more.pop(name) for name in ("key_format_type",) if name in more}
    payload = GetRequest(unique_identifier=name, **fields)
    operation = OPERATIONS[GetRequest]
    item = RequestItem(operation=operation, unique_batch_item_id=batch_id, request_payload=payload)
    return message(item, **more)


def nothing(key: GotKey, stamp: int) -> bytes:
    return b""


def learnt(known: Forms, asked: RequestMessage) -> bytes:
    """Its bytes, whose form is known now if that may be."""
    data = encode_request(asked)
    known.learn(data, GetForm(asked, nothing, 1000))
    return data


def said(found: tuple[GetForm, str]) -> RequestMessage:
    """The message that a form with an id is."""
    form, name = found
    [item] = form.message.batch_item
    payload = item.request_payload
    assert isinstance(payload, Fields)
    asked = msgspec.structs.replace(payload, unique_identifier=name)
    items = (msgspec.structs.replace(item, request_payload=asked),)
    return msgspec.structs.replace(form.message, batch_item=items)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"minor": 0},
        {"batch_id": b"QLKC\1\0\0\0"},
        {"maximum_response_size": 1000, "batch_order_option": True},
        {"key_format_type": KeyFormatType.RAW},
    ],
)
def test_another_id_is_the_same_form(more: dict[str, Any]) -> None:
    known = Forms()
    for size in range(1, 200):
        asked = [get(letter * size, **more) for letter in "a~0"]
        learnt(known, asked[0])
        for one in asked:
            found = known.find(encode_request(one))
            assert found is not None and said(found) == one
    asked = [get("é" * 3, **more), get("a" * 6, **more)]
    learnt(known, asked[0])
    for one in asked:
        found = known.find(encode_request(one))
        assert found is not None and said(found) == one


@pytest.mark.parametrize(
    "more",
    [
        {"time_stamp": 5},
        {"client_correlation_value": "a"},
        {"authentication": KNOWN},
        # An item that looks like the id, in front of it.
        {"batch_id": bytes.fromhex("42009407000000026161000000000000")},
    ],
)
def test_what_is_no_form(more: dict[str, Any]) -> None:
    """What is another one each time, or secret, is not kept; nor is what is not plain to see."""
    known = Forms()
    data = learnt(known, get("aa", **more))
    assert known.find(data) is None
    assert not known._known


def test_an_item_in_front_of_the_id_is_not_taken_for_it() -> None:
    """Also where the id is the text that every other id is tried with."""
    known, head = Forms(), bytes.fromhex("4200940700000004")
    for name in ("~!~!", "aaaa"):
        learnt(known, get(name, head + b"~!~!" + bytes(4)))
        assert known.find(encode_request(get(name, head + b"aaaa" + bytes(4)))) is None


def test_a_large_message_has_no_form() -> None:
    known = Forms()
    learnt(known, get("a", bytes(forms.LARGEST)))
    assert not known._known


def test_whatever_is_found_is_what_the_bytes_say() -> None:
    """Each byte of a message is another one: it is found where the decoder reads that, else not."""
    known, rng, count = Forms(), random.Random(3), 0
    data = learnt(known, get("some-key", b"1"))
    for at in range(len(data)):
        for value in {0, 1, 7, 255, data[at] ^ 1, rng.randrange(256)}:
            strange = data[:at] + bytes([value]) + data[at + 1 :]
            found = known.find(strange)
            if found is not None:
                count += 1
                assert said(found) == decode_request(strange)
    for strange in (data[:-8], data + bytes(8), data[:40], b"", data[8:]):
        assert known.find(strange) is None
    with pytest.raises(KmipError):
        decode_request(data.replace(b"some-key", b"some-ke\xff"))
    assert known.find(data.replace(b"some-key", b"some-ke\xff")) is None
    assert count > 8


def test_as_many_as_may_be_are_known() -> None:
    known = Forms()
    for size in range(1, 3 * forms.MOST):
        data = learnt(known, get("a" * size))
        assert known.find(data) is not None and len(known._known) <= forms.MOST


async def writer(more: dict[str, Any]) -> GetForm:
    """The form of a Get as a server has it."""
    server = Server(clock=HeldClock(), config=BUFFERED)
    await server.boot()
    messages = Messages(server.service.core, server.clock)  # type: ignore[arg-type]
    found = messages._plain(encode_request(get("a", **more)))
    assert found is not None
    return found[0]


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"minor": 0, "batch_id": b"1"},
        {"key_format_type": KeyFormatType.TRANSPARENT_SYMMETRIC_KEY},
    ],
)
async def test_answers_are_those_that_are_written(more: dict[str, Any]) -> None:
    """Ids and keys of all lengths, and some that look like what stands around them."""
    form, rng = await writer(more), random.Random(5)
    for size in range(1, 140):
        for _ in range(3):
            material = rng.choice([rng.randbytes(size), bytes(size), b"\xa7" * size])
            key = GotKey(
                unique_identifier=KeyId(rng.choice("~!B7") * size),
                material=KeyMaterial(material),
                algorithm=rng.choice(["AES", "3DES"]),
                length=8 * size,
            )
            stamp = rng.choice([0, 0x1B7EA55E0DD571AF, rng.randrange(2**40)])
            answer = form.answer(key, stamp)
            assert answer in (None, form._write(key, stamp))
            assert answer is not None or size < 9
    assert len(form._answers) <= forms.MOST


async def test_what_is_larger_than_is_taken_is_none_of_a_form() -> None:
    form = await writer({"maximum_response_size": 100})
    key = GotKey(
        unique_identifier=KeyId("a" * 36),
        material=KeyMaterial(bytes(32)),
        algorithm="AES",
        length=256,
    )
    assert form.answer(key, 5) is None
    assert form.answer(msgspec.structs.replace(key, material=None), 5) is None
