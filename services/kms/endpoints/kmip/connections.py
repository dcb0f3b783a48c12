"""Connections of KMIP: bytes to messages, one after another, and the caller who sends them.

A connection has one message in progress at a time. It is closed when a message stays incomplete, or
when its head cannot be that of a request: what follows could not be told from noise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from protocol.errors import Disconnected
from protocol.kmip.enums import ResultReason
from protocol.kmip.tags import Tag
from protocol.kmip.ttlv import HEAD, SIZE_LIMIT, Type
from services.kms.access.authorization import KeyServerCaller
from services.kms.endpoints.admission import NotAdmitted
from services.kms.endpoints.kmip.items import RefusedMessage
from services.kms.endpoints.kmip.messages import Messages
from services.runtime.ports import Clock
from services.runtime.streams import AtOnce, DeferredAnswer, Stream

MESSAGE_S: Final = 30.0
"""A message is here that long after its first byte, or the connection ends."""

ANSWER_S: Final = 30.0
"""An answer is taken that long after it was made, or the connection ends."""

IDLE_S: Final = 3600.0
"""A connection that says nothing for that long ends."""

CHUNK: Final = 64 * 1024

SMALL: Final = 64 * 1024
"""Bytes of a message that is waited for before its sender is looked up: a refusal has its ids."""

UNFINISHED: Final = 64 * 1024 * 1024
"""Bytes that a server holds of messages that are not whole yet, over all of its connections."""

LEAVING_S: Final = 2.0
"""What a client goes on to send is read for that long, so that it sees why it is refused: the end
of a connection on which something is unread takes the answer along."""

_NONE: Final = -1
_BUSY: Final = RefusedMessage(
    ResultReason.GENERAL_FAILURE,
    "this key server holds as much of unfinished messages as it may: send it again",
)
_REQUEST: Final = Tag.REQUEST_MESSAGE.to_bytes(3) + bytes([Type.STRUCTURE])


class KmipEndpoint:
    """Serves connections. ``admit`` tells who a certificate (DER) is; ``NotAdmitted``.

    It is asked for each message, so that a revocation is in force at once.
    """

    def __init__(
        self, messages: Messages, clock: Clock, admit: Callable[[bytes], KeyServerCaller]
    ) -> None:
        self._messages, self._clock, self._admit = messages, clock, admit
        self._unfinished = 0

    async def serve(self, stream: Stream) -> None:
        """Answer what comes, until either side ends it."""
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
        """The answer to one whole message that needs no wait of a task; None: read it."""
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
        """The bytes of the next message, and whether its head is one; None at the end.

        ``held`` are bytes that have come already, those of a message after this one too.
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
        """Wait for the rest of a message that has begun; whether it is here.

        Who may not ask anything is told so before more than a ``SMALL`` message is kept for it, and
        so is who is one too many.
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
        """What somebody is told who may not ask anything; empty for who may."""
        try:
            caller = self._admit(certificate)
        except NotAdmitted as refusal:
            return await self._messages.answer_not_admitted(refusal)
        if caller.role is not None:
            return b""
        return await self._messages.answer_not_admitted(NotAdmitted(caller, unknown=True))

    async def _leave(self, stream: Stream, answer: bytes) -> None:
        """Tell somebody who is sending yet why it is in vain."""
        if await self._write(stream, answer):
            until = self._clock.monotonic() + LEAVING_S
            while await self._read(stream, until - self._clock.monotonic()):
                continue

    async def _write(self, stream: Stream, answer: bytes) -> bool:
        """Whether there was room for it; none is left by a client that does not read."""
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
        """What has come; nothing when the other end is done, or has taken too long."""
        if within_s <= 0:
            return b""
        try:
            async with self._clock.timeout(within_s):
                return await stream.read(CHUNK)
        except TimeoutError:
            return b""


class _Idle:
    """Closes a stream on which nothing has happened for ``IDLE_S``, and is ``over`` then.

    An alarm for each message costs more than what it is for: there is one, which looks when the
    last message began, and is set anew for what is left.
    """

    def __init__(self, clock: Clock, stream: Stream) -> None:
        self.over = False
        self._clock, self._stream = clock, stream
        self._since = clock.monotonic()
        self._alarm = clock.alarm(IDLE_S, self._ring)

    def begins(self) -> None:
        """One was answered, and the next one is waited for."""
        self._since = self._clock.monotonic()

    def end(self) -> None:
        """There is nothing to be closed any more."""
        self._alarm.cancel()

    def _ring(self) -> None:
        left = self._since + IDLE_S - self._clock.monotonic()
        if left > 0:
            self._alarm = self._clock.alarm(left, self._ring)
        else:
            self.over = True
            self._stream.close()


def _size(held: bytes | bytearray) -> int:
    """Bytes of the message that begins there, or of its head while that is not all here.

    ``_NONE``: that is no head of a request; the decoder will say what is wrong with it.
    """
    if held[:4] != _REQUEST[: len(held)]:
        return _NONE
    if len(held) < HEAD:
        return HEAD
    size = HEAD + int.from_bytes(held[4:8])
    return size if size <= SIZE_LIMIT else _NONE
