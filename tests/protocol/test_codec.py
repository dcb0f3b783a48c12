"""The wire: what is sent is read, by another library too; what is no message is ``Malformed``."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import msgpack
import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocol.codec import (
    VERSION,
    Envelope,
    ReplyEnvelope,
    decode_as,
    decode_envelope,
    decode_message,
    decode_reply,
    encode_envelope,
    encode_message,
)
from protocol.errors import ErrorBody, Malformed
from protocol.messages.base import Message, Ping, Sealed, fields_with_keys
from protocol.secret import KeyMaterial
from protocol.subjects import (
    LinkSubject,
    event_subject,
    may_publish,
    may_subscribe,
    own_subscription,
    parse_link,
    reply_prefix,
    reply_subject,
    request_subject,
)
from protocol.terms import NodeName
from tests.protocol.messages import PLAIN, PRODUCT, messages, structs

DEEP = b"\x91" * 200_000 + b"\xc0"
NODES = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,15}", fullmatch=True)
WORDS = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)


def independent(data: bytes) -> Any:
    """The bytes as another library reads them, which knows nothing of our structs."""
    return msgpack.unpackb(data, raw=False, strict_map_key=False)


def listed(value: Any) -> Any:
    """Plain values as msgpack has them: tuples are lists."""
    if isinstance(value, dict):
        return {key: listed(item) for key, item in value.items()}
    return [listed(item) for item in value] if isinstance(value, list | tuple) else value


def plain(message: Any) -> Any:
    def hook(value: Any) -> Any:
        assert isinstance(value, Sealed | msgspec.Raw)
        return value.box if isinstance(value, Sealed) else msgspec.msgpack.decode(value)

    return listed(
        msgspec.to_builtins(message, enc_hook=hook, builtin_types=(bytes,), str_keys=False)
    )


def read_or_malformed(read: Callable[[bytes], Any], data: bytes) -> Any:
    """What was read; None for ``Malformed``. Anything else is a defect."""
    try:
        return read(data)
    except Malformed as error:
        assert str(error)
        return None


@pytest.mark.parametrize("cls", PRODUCT, ids=lambda cls: cls.__name__)
def test_every_message_comes_back_and_another_library_reads_the_same(cls: type[Message]) -> None:
    @settings(deadline=None, max_examples=10)
    @given(structs(cls))
    def comes_back(message: Message) -> None:
        data = encode_message(message)
        assert decode_message(cls.__name__, data) == message
        assert independent(bytes(data)) == plain(message)

    comes_back()


@settings(deadline=None)
@given(messages(), st.data())
def test_a_message_with_bytes_changed_is_one_or_is_malformed(
    message: Message, data: st.DataObject
) -> None:
    body = bytearray(encode_message(message))
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    for raw in (bytes(body), bytes(body[:cut]), bytes(body) + b"\xc0"):
        read_or_malformed(partial(decode_as, type(message)), raw)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=200), st.text(max_size=70))
@example(DEEP, "Ping")
@example(b"", "")
def test_any_bytes_are_read_or_are_malformed(data: bytes, name: str) -> None:
    read_or_malformed(decode_envelope, data)
    read_or_malformed(decode_reply, data)
    read_or_malformed(partial(decode_message, name), data)
    for cls in PRODUCT:
        read_or_malformed(partial(decode_as, cls), data)


@settings(deadline=None, max_examples=40)
@given(PLAIN)
def test_any_values_are_read_or_are_malformed(value: Any) -> None:
    data = msgpack.packb(value)
    for cls in PRODUCT:
        found = read_or_malformed(partial(decode_as, cls), data)
        assert found is None or isinstance(found, cls)
    read_or_malformed(decode_envelope, data)


ENVELOPES = st.builds(
    Envelope,
    version=st.just(VERSION),
    message_id=st.integers(0, 2**63),
    cause=st.text(max_size=20),
    sender=NODES.map(NodeName),
    boot=st.integers(0, 2**63),
    deadline=st.floats(allow_nan=False),
    name=WORDS,
    body=PLAIN.map(lambda value: msgspec.Raw(msgspec.msgpack.encode(value))),
    boxes=st.lists(st.binary(max_size=20), max_size=3).map(tuple),
)
REPLIES = st.builds(
    ReplyEnvelope,
    version=st.just(VERSION),
    message_id=st.integers(0, 2**63),
    sender=NODES.map(NodeName),
    boot=st.integers(0, 2**63),
    name=WORDS,
    body=PLAIN.map(lambda value: msgspec.Raw(msgspec.msgpack.encode(value))),
    error=st.none() | structs(ErrorBody),
    boxes=st.lists(st.binary(max_size=20), max_size=3).map(tuple),
)


@settings(deadline=None)
@given(ENVELOPES)
def test_an_envelope_comes_back(envelope: Envelope) -> None:
    data = encode_envelope(envelope)
    back = decode_envelope(data)
    assert bytes(back.body) == bytes(envelope.body)
    assert independent(data) == [
        *(envelope.version, envelope.message_id, envelope.cause, envelope.sender),
        *(envelope.boot, envelope.deadline, envelope.name),
        independent(bytes(envelope.body)),
        list(envelope.boxes),
    ]


@settings(deadline=None)
@given(REPLIES)
def test_a_reply_comes_back(reply: ReplyEnvelope) -> None:
    data = encode_envelope(reply)
    back = decode_reply(data)
    assert (back.error, back.boxes, back.name) == (reply.error, reply.boxes, reply.name)
    assert len(independent(data)) == 8


OTHER_VERSIONS = st.integers(0, 2**63).filter(lambda version: version != VERSION)


@settings(deadline=None)
@given(ENVELOPES, OTHER_VERSIONS)
def test_another_version_is_malformed(envelope: Envelope, version: int) -> None:
    other = msgspec.structs.replace(envelope, version=version)
    assert read_or_malformed(decode_envelope, encode_envelope(other)) is None


@settings(deadline=None)
@given(REPLIES, OTHER_VERSIONS)
def test_a_reply_of_another_version_is_malformed(reply: ReplyEnvelope, version: int) -> None:
    other = msgspec.structs.replace(reply, version=version)
    assert read_or_malformed(decode_reply, encode_envelope(other)) is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "\ud800"),
        ("cause", "x\udfff"),
        ("message_id", 2**64),
        ("boot", -(2**63) - 1),
        ("body", msgspec.Raw(b"\xc4\xff" + b"x" * 300_000)),
    ],
)
def test_what_has_no_place_on_the_wire_is_malformed(field: str, value: Any) -> None:
    fields: dict[str, Any] = {
        **{"version": VERSION, "message_id": 1, "cause": "", "sender": NodeName("a")},
        **{"boot": 1, "deadline": 0.0, "name": "Ping", "body": encode_message(Ping())},
    }
    with pytest.raises(Malformed):
        encode_envelope(Envelope(**{**fields, field: value}))


def test_clear_keys_are_a_defect_and_no_message() -> None:
    """Not ``Malformed``, which a caller may take for the peer's doing."""
    clear = Sealed.of(KeyMaterial(b"k" * 32))
    carrying = [cls for cls in PRODUCT if fields_with_keys(cls)]
    assert carrying
    for cls in carrying:
        whole = {name: clear for name in cls.__struct_fields__}
        with pytest.raises(TypeError, match="clear keys"):
            encode_message(cls(**whole))


# Subjects --------------------------------------------------------------------------------------


@given(NODES, NODES, WORDS)
def test_a_link_subject_is_taken_apart(src: str, dst: str, word: str) -> None:
    asked, answered = parse_link(request_subject(src, dst, word)), reply_subject(dst, src, word)
    assert asked is not None and not asked.reply
    assert (asked.src, asked.dst, asked.rest) == (src, dst, word)
    back = parse_link(answered)
    assert back is not None and back.reply and (back.src, back.dst) == (dst, src)
    assert answered.startswith(reply_prefix(dst, src))
    assert may_publish(src, request_subject(src, dst, word)) and may_publish(dst, answered)
    assert may_publish(src, event_subject(src, word)) and may_subscribe(src, own_subscription(src))


@given(NODES, NODES, NODES, WORDS)
def test_nobody_speaks_or_listens_as_another(me: str, src: str, dst: str, word: str) -> None:
    for subject in (request_subject(src, dst, word), reply_subject(src, dst, word)):
        assert may_publish(me, subject) == (me == src)
        assert may_subscribe(me, subject) == (me == dst)
    assert may_publish(me, event_subject(src, word)) == (me == src)


@given(st.text(max_size=40) | st.from_regex(r"l\.[^.]*\.[^.]*\.(q|_r)\.[^.]*", fullmatch=True))
@example("l.*.b.q.X")
@example("l.a.>.q.X")
@example("l.a\n.b.q.X")
@example("l.a.b.q.X.y")
def test_any_text_is_a_subject_of_a_link_or_none(text: str) -> None:
    found = parse_link(text)
    if found is not None:
        make = reply_subject if found.reply else request_subject
        assert make(found.src, found.dst, found.rest) == text
        assert not set("*> \n") & set(found.src + found.dst)


@pytest.mark.parametrize(
    ("text", "link"),
    [
        ("l.a.b.q.X", LinkSubject(NodeName("a"), NodeName("b"), False, "X")),
        ("l.a.b._r.t", LinkSubject(NodeName("a"), NodeName("b"), True, "t")),
        ("L.a.b.q.X", None),
        ("e.a.b.q.X", None),
        ("l.a.b.Q.X", None),
        ("l.a.b._R.t", None),
        ("l.a.b.X.q", None),
        ("l.a.b.q", None),
        ("l.a.b.q.X.y", None),
        ("e.a.b.q.X.y", None),
        ("l.*.b.q.X", None),
        ("l.a.*.q.X", None),
        ("e.a.Changed", None),
        ("", None),
    ],
)
def test_a_link_is_five_parts_and_nothing_else(text: str, link: LinkSubject | None) -> None:
    assert parse_link(text) == link


@pytest.mark.parametrize(
    ("subject", "may"),
    [
        ("l.*.me.>", True),
        ("l.a.me.q", True),
        ("l.a.me.q.X", True),
        ("l.a.me", False),  # no subject of a link
        ("l.me.a.q.X", False),
        ("l.a.b.me.X", False),
        ("l.me.>", False),
        ("L.a.me.q.X", False),
        ("e.a.me.X", False),
        ("e.me.Changed", False),
        ("me.l.me.q.X", False),
        ("me", False),
        (">", False),
    ],
)
def test_a_node_listens_at_its_own_inbox_or_narrower(subject: str, may: bool) -> None:
    assert may_subscribe("me", subject) is may
