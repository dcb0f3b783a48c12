"""What was said on the data bus of a run: recorded as it is let in, read back message by message.

The recording is a msgpack stream: ``[t, subject, payload]`` for each message in the broker's order
(``t``: lab seconds since the run began), then a ``ConversationEnd``. Payloads are as they
travelled, keys in sealed boxes; who reads them sees fingerprints of bytes and no bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import IO, Any, Final

import msgspec

from chaos.history import pack, read_packed, record_error
from protocol.codec import Envelope, ReplyEnvelope, decode_envelope, decode_reply
from protocol.errors import Malformed
from protocol.subjects import parse_link

_FINGERPRINT: Final = 4  # bytes


class ConversationEnd(msgspec.Struct, frozen=True, kw_only=True):
    """The last value: how many messages stand before it, how many found no room, and how often
    the recorder lost its own link to the broker (what passed meanwhile is missing)."""

    messages: int
    dropped: int
    gaps: int


class BusRecording:
    """Takes down what ``hear`` is told into ``file`` until ``close``.

    It has no limit but the device's: when that refuses, nothing more is taken down, the run goes
    on, and the end, if there is room for it, says how many messages are missing.
    """

    def __init__(self, file: IO[bytes], now: Callable[[], float]) -> None:
        self._now, self._start, self._file = now, now(), file
        self._messages = 0
        self._ended = False
        self.dropped = 0

    def hear(self, subject: str, reply: str, payload: bytes) -> None:
        """A message that the broker has let in; ``reply`` (where its answer goes) follows from
        the link, so it is left out. What is heard after the end is no part of the run."""
        if self._ended:
            return
        t = round(self._now() - self._start, 6)
        if self.dropped or not self._put(pack((t, subject, payload))):
            self.dropped += 1
        else:
            self._messages += 1

    def _put(self, value: bytes) -> bool:
        """Whether the device took it."""
        try:
            self._file.write(value)
        except OSError:
            return False
        return True

    def flush(self) -> bool:
        """Whether a reader of the file finds all that was heard so far."""
        try:
            self._file.flush()
        except OSError:
            return False
        return not self.dropped

    def close(self, gaps: int = 0) -> None:
        """Write the end, and close the file; again is no change."""
        if self._ended:
            return
        self._ended = True
        end = ConversationEnd(messages=self._messages, dropped=self.dropped, gaps=gaps)
        self._put(pack(msgspec.structs.asdict(end)))
        with suppress(OSError):  # what is missing at its end is told by whoever reads it
            self._file.close()


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """One message: ``src`` to ``dst`` (empty for an event, which all may hear).

    ``kind`` is request, reply, error or event, ``id`` the requester's number of the request (a
    reply has its request's) in its life ``boot``, ``cause`` the message that led to it. In ``body``
    bytes are their fingerprints; ``boxes`` are fingerprints of sealed key material. ``wrong`` tells
    why bytes on the bus were no message of ours.
    """

    t: float
    src: str
    dst: str
    kind: str
    name: str
    id: int = 0
    boot: int = 0
    cause: str = ""
    body: dict[str, Any] = {}
    boxes: tuple[str, ...] = ()
    wrong: str = ""


def conversation(file: IO[bytes]) -> Iterator[Said | ConversationEnd]:
    """Every message of the recording in ``file`` in its order, then its ``ConversationEnd``.

    ``ChaosError`` KS-CHAOS-204 where it is no recording, or was cut off.
    """
    ended = number = 0
    for number, raw in enumerate(read_packed(file), start=1):
        value = _decode(number, raw)
        if ended:
            raise record_error(number, "there is a record after the end")
        match value:
            case [float(t), str(subject), bytes(payload)]:
                yield parse_said(t, subject, payload)
            case {"messages": int(count)} if count == number - 1:
                ended = number
                yield _end(number, value)
            case _:
                raise record_error(number, "it is no message of a recording")
    if not ended:
        raise record_error(number + 1, "the end is missing: cut off, or the run was killed")


def read_payloads(file: IO[bytes]) -> Iterator[tuple[str, bytes]]:
    """Subject and payload, as it travelled, of each message of a recording that may go on still."""
    for number, raw in enumerate(read_packed(file, whole=False), start=1):
        value = _decode(number, raw)
        if isinstance(value, list):
            yield value[1], value[2]


def _decode(number: int, raw: bytes) -> Any:
    try:
        return msgspec.msgpack.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise record_error(number, f"no record: {error}") from None


def _end(number: int, value: Any) -> ConversationEnd:
    try:
        return msgspec.convert(value, ConversationEnd)
    except msgspec.ValidationError as error:
        raise record_error(number, f"no end: {error}") from None


def parse_said(t: float, subject: str, payload: bytes) -> Said:
    """A message as it travelled, taken apart; ``t`` is when."""
    link = parse_link(subject)
    src, dst = (link.src, link.dst) if link else (subject.split(".")[1], "")
    try:
        if link is not None and link.reply:
            return _reply(t, src, dst, decode_reply(payload))
        return _request(t, src, dst, decode_envelope(payload), "request" if link else "event")
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError) as error:
        return Said(t=t, src=src, dst=dst, kind="wrong", name=subject, wrong=str(error))


def _request(t: float, src: str, dst: str, found: Envelope, kind: str) -> Said:
    return Said(
        t=t,
        src=src,
        dst=dst,
        kind=kind,
        name=found.name,
        id=found.message_id,
        boot=found.boot,
        cause=found.cause,
        body=_body(found.body),
        boxes=tuple(map(fingerprint, found.boxes)),
    )


def _reply(t: float, src: str, dst: str, found: ReplyEnvelope) -> Said:
    wrong = found.error
    return Said(
        t=t,
        src=src,
        dst=dst,
        kind="reply" if wrong is None else "error",
        name=found.name if wrong is None else wrong.name,
        id=found.message_id,
        body=_body(found.body) if wrong is None else msgspec.structs.asdict(wrong),
        boxes=tuple(map(fingerprint, found.boxes)),
    )


def _body(raw: msgspec.Raw) -> dict[str, Any]:
    value = without_bytes(msgspec.msgpack.decode(raw))
    return value if isinstance(value, dict) else {}


def without_bytes(value: Any) -> Any:
    """Plain data with the fingerprint of bytes in their place."""
    match value:
        case bytes():
            return fingerprint(value)
        case dict():
            return {str(key): without_bytes(inner) for key, inner in value.items()}
        case list():
            return [without_bytes(inner) for inner in value]
        case _:
            return value


def fingerprint(data: bytes) -> str:
    """A few digits of a digest: equal bytes can be told from others, and not be had back."""
    return f"fp:{hashlib.blake2b(data, digest_size=_FINGERPRINT).hexdigest()}"
