"""The trace of a run: what happened and what was sent, in order, folded into one hash over the
normal form of messages, records and answers, which two runs of one seed have in common.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import msgspec
from msgspec import inspect

from protocol.codec import Envelope, ReplyEnvelope
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


_FLUSH = 4096  # entries folded at once
_MASK = (1 << 63) - 1  # msgpack has no larger integers, and needs none here


_Entry = (
    tuple[int, str, int, str, tuple[int, ...]] | tuple[int, str, int, str, tuple[int, ...], bytes]
)


class TraceEntry(NamedTuple):
    """One thing that happened. ``at`` is virtual nanoseconds; node "" is the world itself;
    ``content`` is the normal form of a message or record."""

    at: int
    node: str
    boot: int
    label: str
    ordinals: tuple[int, ...]
    content: bytes = b""

    def __str__(self) -> str:
        who = f"{self.node}/{self.boot}" if self.node else "-"
        numbers = " ".join(map(str, self.ordinals))
        content = format_normal_form(self.content)
        more = f" {content[:160]}{' ...' * (len(content) > 160)}" if content else ""
        return f"{self.at / 1e9:15.6f}  {who:<16} {self.label} {numbers}".rstrip() + more


@dataclass(frozen=True)
class Difference:
    """Where two recorded traces part: entry ``index``; None is the end of a trace."""

    index: int
    first: TraceEntry | None
    second: TraceEntry | None
    before: tuple[TraceEntry, ...]  # the last common entries

    def __str__(self) -> str:
        lines = [f"the runs part at entry {self.index}:"]
        lines += [f"    {entry}" for entry in self.before]
        lines += [f"  1 {self.first or '(ended)'}", f"  2 {self.second or '(ended)'}"]
        first, second = self.first, self.second
        if first is not None and second is not None and first[:5] == second[:5]:
            lines.append(f"  {first.label}: {describe_difference(first.content, second.content)}")
        return "\n".join(lines)


class Trace:
    """Folds entries into a hash. With ``record`` it also keeps them (memory: the whole run).

    ``count`` is the number of entries. The hash does not depend on ``record``.
    """

    def __init__(self, *, record: bool = False) -> None:
        self._fold = hashlib.blake2b(digest_size=16)
        self._encode = msgspec.msgpack.Encoder().encode
        self._flushed = 0
        self._entries: list[TraceEntry] | None = [] if record else None
        # The loop appends a step here directly: one call less in its hottest line.
        self.pending: list[_Entry] = []

    def add(self, at: int, node: str, boot: int, label: str, *ordinals: int) -> None:
        """Fold one entry. ``label`` must be a fixed word or a name of the topology."""
        self.pending.append((at, node, boot, label, tuple([n & _MASK for n in ordinals])))
        if len(self.pending) >= _FLUSH:
            self.flush()

    def add_content(self, at: int, node: str, boot: int, label: str, content: bytes) -> None:
        """Fold a message, record or answer: ``content`` is its ``normal_form``."""
        self.pending.append((at, node, boot, label, (), content))
        if len(self.pending) >= _FLUSH:
            self.flush()

    def flush(self) -> None:
        """Fold the pending entries. Entries are folded one by one, so the moment does not
        matter."""
        if not self.pending:
            return
        count = len(self.pending)
        # An array of entries is its head, which is left out, and then the entries one by one.
        head = 1 if count < 16 else 3 if count < 1 << 16 else 5
        self._fold.update(memoryview(self._encode(self.pending))[head:])
        self._flushed += count
        if self._entries is not None:
            self._entries += [TraceEntry(*entry) for entry in self.pending]
        self.pending.clear()

    @property
    def count(self) -> int:
        """How many entries were folded so far."""
        return self._flushed + len(self.pending)

    @property
    def entries(self) -> list[TraceEntry]:
        """The recorded entries; ``ValueError`` when this trace does not record."""
        if self._entries is None:
            raise ValueError("this trace was made without record=True")
        self.flush()
        return self._entries

    def hash(self) -> str:
        """32 hexadecimal digits over everything so far; the trace may go on."""
        self.flush()
        return self._fold.hexdigest()


def first_difference(
    a: Trace | Iterable[TraceEntry], b: Trace | Iterable[TraceEntry], *, context: int = 5
) -> Difference | None:
    """The first entry in which two recorded traces differ; None when they are equal."""
    first = a.entries if isinstance(a, Trace) else list(a)
    second = b.entries if isinstance(b, Trace) else list(b)
    for index in range(max(len(first), len(second))):
        mine = first[index] if index < len(first) else None
        other = second[index] if index < len(second) else None
        if mine != other:
            before = tuple(first[max(0, index - context) : index])
            return Difference(index, mine, other, before)
    return None
