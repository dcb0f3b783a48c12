"""Connections of KMIP: bytes to messages, one after another, and the caller who sends them.

A connection has one message in progress at a time. It is closed when a message stays incomplete, or
when its head cannot be that of a request: the rest could not be interpreted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.errors import Disconnected
from protocol.kmip.enums import ResultReason
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, SIZE_LIMIT, Type
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.kmip.items import RefusedMessage
from services.kms.endpoints.kmip.messages import Messages
from services.kms.endpoints.kmip_clients import NotAdmitted
from services.runtime.ports import Clock
from services.runtime.streams import AtOnce, DeferredAnswer, Stream

MESSAGE_S: Final = 30.0
"""Lab seconds from the first byte of a message to its last; then the connection ends."""

ANSWER_S: Final = 30.0
"""Lab seconds in which an answer must be taken; then the connection ends."""

IDLE_S: Final = 3600.0
"""Lab seconds after which an idle connection ends."""

CHUNK: Final = 64 * 1024

SMALL: Final = 64 * 1024
"""Bytes of a message that are buffered before its sender is looked up: a refusal includes its
ids."""

UNFINISHED: Final = 64 * 1024 * 1024
"""Bytes of incomplete messages that a server buffers over all connections."""

LEAVING_S: Final = 2.0
"""Lab seconds for which a refused client's further bytes are read, so that it receives the refusal:
closing a connection with unread bytes discards the answer."""

_NONE: Final = -1
_BUSY: Final = RefusedMessage(
    ResultReason.GENERAL_FAILURE,
    "this key server holds as much of unfinished messages as it may: send it again",
)
_REQUEST: Final = Tag.REQUEST_MESSAGE.to_bytes(3) + bytes([Type.STRUCTURE])


class KmipEndpoint:
    """Serves connections. ``admit`` returns the caller of a certificate (DER), or raises
    ``NotAdmitted``.

    It is called for each message, so that a revocation takes effect at once.
    """

    def __init__(
        self, messages: Messages, clock: Clock, admit: Callable[[bytes], KeyServerCaller]
    ) -> None:
        self._messages, self._clock, self._admit = messages, clock, admit
        self._unfinished = 0

    async def serve(self, stream: Stream) -> None:
        """Answer messages until either side ends the connection."""
        idle = _Idle(self._clock, stream)

        def at_once(data: bytes) -> bytes | DeferredAnswer | None:
            answer = self._at_once(stream, data)
            if answer is not None:
                idle.begins()
            return answer

        try:
            await self._serve(stream, idle, at_once)
        except Disconnected:
            if not idle.over:
                raise
        finally:
            idle.end()

    def _at_once(self, stream: Stream, data: bytes) -> bytes | DeferredAnswer | None:
        """The answer to one complete message that needs no wait; None: read it in the task."""
        if _size(data) != len(data):
            return None
        try:
            caller = self._admit(stream.peer)
        except NotAdmitted:
            return None
        return self._messages.at_once(caller, data)

    async def _serve(self, stream: Stream, idle: _Idle, at_once: AtOnce) -> None:
        held = bytearray()
        while True:
            idle.begins()
            found = await self._next(stream, held, at_once)
            if found is None:
                return
            message, framed = found
            try:
                caller = self._admit(stream.peer)
            except NotAdmitted as refusal:
                await self._write(stream, await self._messages.answer_not_admitted(refusal))
                return
            answer = await self._messages.answer(caller, message)
            if not await self._write(stream, answer) or not framed:
                return

    async def _next(
        self, stream: Stream, held: bytearray, at_once: AtOnce
    ) -> tuple[bytes, bool] | None:
        """The bytes of the next message, and whether its head is valid; None at the end.

        ``held`` are bytes that have arrived already, including those of later messages.
        """
        if not held:
            held += await stream.read(CHUNK, at_once)
            if not held:
                return None
        if _size(held) > len(held) and not await self._finished(stream, held):
            return None
        size = _size(held)
        message = bytes(held) if size == _NONE else bytes(held[:size])
        del held[: len(message)]
        return message, size != _NONE

    async def _finished(self, stream: Stream, held: bytearray) -> bool:
        """Wait for the rest of a message; returns whether it is complete.

        A client that is not admitted is refused before more than a ``SMALL`` message is buffered
        for it, and so is a client beyond the limit.
        """
        until, counted, known = self._clock.monotonic() + MESSAGE_S, 0, False
        try:
            while (size := _size(held)) > len(held):
                refusal = b""
                if size > SMALL and not known:
                    refusal, known = await self._unknown(stream.peer), True
                self._unfinished += len(held) - counted
                counted = len(held)
                if self._unfinished > UNFINISHED:
                    refusal = self._messages.encode_refusal(_BUSY)
                if refusal:
                    held.clear()
                    self._unfinished, counted = self._unfinished - counted, 0
                    await self._leave(stream, refusal)
                    return False
                more = await self._read(stream, until - self._clock.monotonic())
                if not more:
                    return False
                held += more
        finally:
            self._unfinished -= counted
        return True

    async def _unknown(self, certificate: bytes) -> bytes:
        """The refusal for a client that is not admitted; empty for others."""
        try:
            caller = self._admit(certificate)
        except NotAdmitted as refusal:
            return await self._messages.answer_not_admitted(refusal)
        if caller.role is not None:
            return b""
        return await self._messages.answer_not_admitted(NotAdmitted(caller, unknown=True))

    async def _leave(self, stream: Stream, answer: bytes) -> None:
        """Refuse a client that is still sending."""
        if await self._write(stream, answer):
            until = self._clock.monotonic() + LEAVING_S
            while await self._read(stream, until - self._clock.monotonic()):
                continue

    async def _write(self, stream: Stream, answer: bytes) -> bool:
        """Send an answer; returns False for a client that does not read."""
        if len(answer) <= stream.room:
            await stream.write(answer)
            return True
        try:
            async with self._clock.timeout(ANSWER_S):
                await stream.write(answer)
        except TimeoutError:
            return False
        return True

    async def _read(self, stream: Stream, within_s: float) -> bytes:
        """Received bytes; empty when the other end has closed, or was too slow."""
        if within_s <= 0:
            return b""
        try:
            async with self._clock.timeout(within_s):
                return await stream.read(CHUNK)
        except TimeoutError:
            return b""


class _Idle:
    """Closes a stream that was idle for ``IDLE_S``, and is ``over`` then.

    An alarm for each message would cost more than the message. There is one alarm, which checks
    when the last message began, and is set again for the remaining time.
    """

    def __init__(self, clock: Clock, stream: Stream) -> None:
        self.over = False
        self._clock, self._stream = clock, stream
        self._since = clock.monotonic()
        self._alarm = clock.alarm(IDLE_S, self._ring)

    def begins(self) -> None:
        """A message was answered; the next one is awaited."""
        self._since = self._clock.monotonic()

    def end(self) -> None:
        """Stop watching."""
        self._alarm.cancel()

    def _ring(self) -> None:
        left = self._since + IDLE_S - self._clock.monotonic()
        if left > 0:
            self._alarm = self._clock.alarm(left, self._ring)
        else:
            self.over = True
            self._stream.close()


def _size(held: bytes | bytearray) -> int:
    """Bytes of the message that begins there, or of its head while that is incomplete.

    ``_NONE``: this is not the head of a request; the decoder reports what is wrong.
    """
    if held[:4] != _REQUEST[: len(held)]:
        return _NONE
    if len(held) < HEAD:
        return HEAD
    size = HEAD + int.from_bytes(held[4:8])
    return size if size <= SIZE_LIMIT else _NONE
