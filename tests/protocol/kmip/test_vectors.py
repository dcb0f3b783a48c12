"""Published conversations and captured messages, from the folder that KEYSTEAD_VECTORS names.

They are no part of this tree. OASIS conversations are ``*.xml`` in a folder ``oasis`` of it, those
of a real vCenter ``*.json`` in ``vcenter-8.0.1``, at any depth; without them there are skips.
"""

from __future__ import annotations

import calendar
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from protocol.kmip import algorithms, enums
from protocol.kmip.cases import CaseError, CaseMessage, read_case
from protocol.kmip.enums import Code
from protocol.kmip.fields import Unread
from protocol.kmip.message import (
    RequestMessage,
    ResponseMessage,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import TtlvItem, Type, encode, parse

FOLDER = os.environ.get("KEYSTEAD_VECTORS", "")
CONVERSATIONS = sorted(Path(FOLDER).rglob("oasis/**/*.xml")) if FOLDER else []
CAPTURED = sorted(Path(FOLDER).rglob("vcenter-8.0.1/*.json")) if FOLDER else []
WHY = "KEYSTEAD_VECTORS names no folder with them"


class _Anything(dict[str, str]):
    """A value for every variable: a present, and for others what may be an id, and bytes."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return "1700000000" if name == "NOW" else "00112233445566778899aabbccddeeff"


ANYTHING: Mapping[str, str] = _Anything()


def typed(data: bytes) -> RequestMessage | ResponseMessage:
    """The structs of a message; it has the same bytes again, as structs and as a tree."""
    assert encode(parse(data)) == data
    if data.startswith(Tag.REQUEST_MESSAGE.to_bytes(3)):
        request = decode_request(data)
        assert encode_request(request) == data
        return request
    response = decode_response(data)
    assert encode_response(response) == data
    return response


def unread(message: RequestMessage | ResponseMessage) -> Iterator[tuple[str, Unread]]:
    """Payloads that came as trees, with their operations."""
    for item in message.batch_item:
        payload = getattr(item, "request_payload", None) or getattr(item, "response_payload", None)
        if isinstance(payload, Unread):
            assert isinstance(item.operation, enums.Operation)
            yield item.operation.label, payload


def trees(message: CaseMessage, skipped: Counter[str]) -> Iterator[TtlvItem]:
    """Its tree, unless it has a name that is not known here."""
    try:
        yield message.node(ANYTHING)
    except CaseError as error:
        skipped[str(error)] += 1


@pytest.mark.slow
@pytest.mark.skipif(not CONVERSATIONS, reason=f"0 OASIS conversations: {WHY}")
@pytest.mark.parametrize("version", sorted({path.parent.name for path in CONVERSATIONS}))
def test_every_message_of_oasis_has_the_same_bytes_again(version: str) -> None:
    skipped: Counter[str] = Counter()
    reasons: Counter[enums.ResultReason] = Counter()
    operations: set[str] = set()
    count = 0
    for path in (path for path in CONVERSATIONS if path.parent.name == version):
        for exchange in read_case(path.read_text()):
            for message in (exchange.request, exchange.response):
                for node in trees(message, skipped):
                    count += 1
                    for operation, payload in unread(typed(encode(node))):
                        reasons[payload.reason] += 1
                        operations.add(operation)
    print(f"{version}: {count} messages, as trees {operations}, skipped {dict(skipped)}")
    assert count > 0
    assert not skipped
    assert set(reasons) <= {enums.ResultReason.OPERATION_NOT_SUPPORTED}


CODES: dict[str, type[Code]] = {
    name: value
    for module in (enums, algorithms)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, Code)
}


def captured(item: dict[str, Any], attribute: str = "") -> TtlvItem:
    """One item as the files have it: tags, types and codes by their names in capitals."""
    tag, kind, value = Tag[item["tag"]], Type[item["type"]], item["value"]
    match kind:
        case Type.STRUCTURE:
            name, children = "", []
            for child in value:
                children.append(captured(child, name))
                name = child["value"] if child["tag"] == "ATTRIBUTE_NAME" else name
            return TtlvItem(tag, kind, tuple(children))
        case Type.ENUMERATION:
            of = attribute if tag is Tag.ATTRIBUTE_VALUE else tag.label
            return TtlvItem(tag, kind, int(CODES[of.replace(" ", "")][value]))
        case Type.BYTE_STRING:
            return TtlvItem(tag, kind, bytes.fromhex(value))
        case Type.DATE_TIME:
            return TtlvItem(tag, kind, calendar.timegm(time.strptime(value)))
    return TtlvItem(tag, kind, value)


@pytest.mark.skipif(not CAPTURED, reason=f"0 messages of vCenter: {WHY}")
@pytest.mark.parametrize("path", CAPTURED, ids=lambda path: path.stem)
def test_what_vcenter_says_and_hears_is_typed_to_the_byte(path: Path) -> None:
    [root] = json.loads(path.read_text())
    assert not list(unread(typed(encode(captured(root)))))
