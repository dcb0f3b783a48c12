"""The normal form of messages, records and answers: what two runs of one seed have in common.

It has every field except bytes: keys, nonces, boxes and TPM output are random, and nothing may
depend on them. Ids are drawn from the seed, so they stay. A message without bytes (most are) is
folded as it travels.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from protocol.envelope import Envelope, ReplyEnvelope
from protocol.errors import ProductError
from protocol.messages.agent import Answer, NodeRecord
from protocol.messages.base import Message

_encode = msgspec.msgpack.Encoder(enc_hook=lambda value: None).encode
_decode = msgspec.msgpack.Decoder().decode
_envelope = msgspec.msgpack.Decoder(Envelope).decode
_reply = msgspec.msgpack.Decoder(ReplyEnvelope).decode
_WRONG = (msgspec.DecodeError, ValueError)

# Types without bytes, checked without a call.
_BARE = frozenset({str, int, float, bool, type(None)})

NOTHING = b""
"""The normal form of bytes that are not a message."""


def of_request(payload: bytes) -> bytes:
    """The normal form of a request or event, as it travels."""
    try:
        found = _envelope(payload)
        content = (found.message_id, found.cause, found.deadline, found.name, _decode_body(found))
    except _WRONG:
        return NOTHING
    return _encode(content)


def of_reply(payload: bytes) -> bytes:
    """The normal form of a reply, as it travels: its body, or its error."""
    try:
        found = _reply(payload)
        content = (found.message_id, found.name, _decode_body(found), found.error)
    except _WRONG:
        return NOTHING
    return _encode(content)


def of_record(record: NodeRecord) -> bytes:
    """The normal form of a line of a node's log; its node and time are those of the trace's
    entry."""
    return _encode((record.level, record.kind, blank_bytes(record.fields)))


def of_answer(answer: Answer | ProductError) -> bytes:
    """The normal form of an answer at a node's local console: its reply, or the error."""
    if isinstance(answer, ProductError):
        return _encode(("", None, answer.body()))
    return _encode((answer.name, _decode_body(answer), answer.error))


def _decode_body(found: Envelope | ReplyEnvelope | Answer) -> Any:
    return found.body if has_no_bytes(found.name) else blank_bytes(_decode(found.body))


@cache
def has_no_bytes(name: str) -> bool:
    """Whether no field of this kind of message can hold bytes or arbitrary values."""
    cls = Message._registry.get(name)
    return cls is not None and not any(
        isinstance(kind, inspect.BytesType | inspect.AnyType | inspect.CustomType | inspect.RawType)
        for kind in _types_in(inspect.type_info(cls), {})
    )


def _types_in(kind: Any, known: dict[int, Any]) -> Iterator[Any]:
    """Every type in ``kind``: itself and the types inside, each once."""
    if not isinstance(kind, inspect.Type | inspect.Field) or id(kind) in known:
        return
    known[id(kind)] = kind
    yield kind
    for name in kind.__struct_fields__:
        inner = getattr(kind, name)
        for part in inner if isinstance(inner, tuple) else (inner,):
            yield from _types_in(part, known)


def blank_bytes(value: Any) -> Any:
    """``value`` (plain data) with its bytes blanked."""
    if type(value) in _BARE:
        return value
    match value:
        case bytes() | bytearray() | memoryview():
            return None
        case dict():
            return {
                key if type(key) in _BARE else blank_bytes(key): (
                    inner if type(inner) in _BARE else blank_bytes(inner)
                )
                for key, inner in value.items()
            }
        case list() | tuple():
            return [inner if type(inner) in _BARE else blank_bytes(inner) for inner in value]
        case _:
            return value


def format_normal_form(content: bytes) -> str:
    """The normal form as one line of text."""
    return msgspec.json.encode(_decode(content)).decode() if content else ""


def describe_difference(first: bytes, second: bytes) -> str:
    """Describe where two normal forms differ; empty when they are equal."""
    if first == second:
        return ""
    if not first or not second:
        return f"only one run has {format_normal_form(first or second)}"
    return describe_first_difference(_decode(first), _decode(second))


def describe_first_difference(first: Any, second: Any) -> str:
    """Describe the first place at which two different values (plain data) differ."""
    path, mine, other = _describe_first_difference(first, second, "")
    one, two = _format_value(mine), _format_value(other)
    return f"{path or 'it'} is {one} in one run and {two} in the other"


def _describe_first_difference(first: Any, second: Any, path: str) -> tuple[str, Any, Any]:
    if isinstance(first, dict) and isinstance(second, dict) and list(first) == list(second):
        inside = [(f"{path}.{key}".lstrip("."), first[key], second[key]) for key in first]
    elif isinstance(first, list) and isinstance(second, list) and len(first) == len(second):
        pairs = zip(first, second, strict=True)
        inside = [(f"{path}[{place}]", *pair) for place, pair in enumerate(pairs)]
    else:
        return path, first, second
    for inner, mine, other in inside:
        if mine != other:
            return _describe_first_difference(mine, other, inner)
    return path, first, second


def _format_value(value: Any) -> str:
    found = msgspec.json.encode(value).decode()
    return found if len(found) <= 200 else f"{found[:200]} ..."
