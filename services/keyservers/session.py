"""One KMIP session: a connection, its messages one after another, and the time of each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

from protocol.errors import Disconnected, GeneralFailure, ProductError, TimedOut
from protocol.kmip import dialect
from protocol.kmip.errors import KmipError
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    RequestMessage,
    ResponseMessage,
    decode_response,
    encode_request,
)
from protocol.kmip.payloads import GetResponse
from protocol.kmip.ttlv import HEAD, message_size
from protocol.secret import KeyMaterial
from services.runtime.ports import Clock
from services.runtime.streams import Stream

P = TypeVar("P", bound=Fields)
T = TypeVar("T")

_PIECE: Final = 65_536


class SessionStep(NamedTuple):
    """A step with a server, its duration in lab seconds, and its error, if it failed."""

    name: str
    seconds: float
    error: str = ""


OnStep = Callable[[SessionStep], None]
Seen = Callable[[str, RequestMessage, ResponseMessage], None]
"""Called with each readable answer, the name of its step, and its request."""


def unseen(step: str, request: RequestMessage, answer: ResponseMessage) -> None:
    """Ignore the answer."""


class KmipSession:
    """A connection after its handshake. One task at a time: answers come in order.

    Each exchange has ``within_s`` lab seconds; after an error the connection is unusable. The
    server may have closed a kept connection: see ``reuse``.
    """

    def __init__(
        self, stream: Stream, clock: Clock, within_s: float, on_step: OnStep, seen: Seen = unseen
    ) -> None:
        self._stream, self._clock, self._within_s = stream, clock, within_s
        self._on_step, self._seen = on_step, seen
        self._anew: Callable[[], Awaitable[KmipSession]] | None = None

    def reuse(self, anew: Callable[[], Awaitable[KmipSession]]) -> None:
        """The connection was kept. If it turns out to be closed before it answers, its first
        message is sent again over the connection of ``anew``; the server may have executed it
        already."""
        self._anew = anew

    async def ask(self, name: str, request: RequestMessage, expected: type[P]) -> P:
        """The single payload of the answer; raises as ``all``."""
        return await self._ask_timed(
            name, request, lambda answer: dialect.one(request, answer, expected)
        )

    async def key(self, request: RequestMessage) -> KeyMaterial:
        """The value in the answer to Get; ``GeneralFailure`` unless it is an AES key of 256
        bits."""

        def value(answer: ResponseMessage) -> KeyMaterial:
            got = dialect.one(request, answer, GetResponse)
            try:
                return dialect.material(got)
            except KmipError as error:
                raise GeneralFailure(str(error)) from None

        return await self._ask_timed("Get", request, value)

    async def all(self, name: str, request: RequestMessage) -> tuple[Fields, ...]:
        """The payload of each item.

        ``OperationFailed`` for the first that did not succeed, ``TimedOut``, and ``Disconnected``
        when the connection broke or the answer is invalid.
        """
        return await self._ask_timed(
            name, request, lambda answer: dialect.take_payloads(request, answer)
        )

    def close(self) -> None:
        """Close the connection; no change when it is closed."""
        self._stream.close()

    async def _ask_timed(
        self, name: str, request: RequestMessage, take: Callable[[ResponseMessage], T]
    ) -> T:
        begun = self._clock.monotonic()
        try:
            answer = await self._answer(request)
            self._seen(name, request, answer)
            payloads = take(answer)
        except KmipError as error:
            failure = Disconnected(f"{name}: what came is no answer: {error}")
            self._report_step(name, begun, failure)
            raise failure from None
        except (ProductError, dialect.OperationFailed) as error:
            self._report_step(name, begun, error)
            raise
        self._report_step(name, begun, None)
        return payloads

    def _report_step(self, name: str, begun: float, error: Exception | None) -> None:
        taken = self._clock.monotonic() - begun
        self._on_step(
            SessionStep(name, taken, "" if error is None else f"{type(error).__name__}: {error}")
        )

    async def _answer(self, request: RequestMessage) -> ResponseMessage:
        anew, self._anew = self._anew, None
        try:
            return await self._exchange(request)
        except Disconnected:
            if anew is None:
                raise
        self._stream.close()
        self._stream = (await anew())._stream
        return await self._exchange(request)

    async def _exchange(self, request: RequestMessage) -> ResponseMessage:
        try:
            async with self._clock.timeout(self._within_s):
                await self._stream.write(encode_request(request))
                head = await self._exactly(HEAD)
                rest = await self._exactly(message_size(head) - HEAD)
        except TimeoutError:
            raise TimedOut(f"no answer within {self._within_s:g} s") from None
        return decode_response(head + rest)

    async def _exactly(self, size: int) -> bytes:
        pieces, left = [], size
        while left:
            piece = await self._stream.read(min(left, _PIECE))
            if not piece:
                raise Disconnected("the server closed the connection before it had answered")
            pieces.append(piece)
            left -= len(piece)
        return b"".join(pieces)
