"""vCenter's KMIP sessions with one key server: which connections, which messages in which order,
and the time of each. Each task has a connection of its own, which begins with Discover Versions;
Get comes before Activate.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final, NamedTuple, TypeVar

from protocol.errors import Disconnected, GeneralFailure, ProductError, TimedOut
from protocol.kmip import dialect
from protocol.kmip.enums import KmipError, ResultReason, State
from protocol.kmip.fields import Fields
from protocol.kmip.message import (
    RequestMessage,
    ResponseMessage,
    decode_response,
    encode_request,
)
from protocol.kmip.payloads import (
    ActivateResponse,
    CreateResponse,
    DiscoverVersionsResponse,
    GetAttributesResponse,
    GetResponse,
    QueryResponse,
)
from protocol.kmip.ttlv import HEAD, message_size
from protocol.secret import KeyMaterial
from services.runtime.each import for_each
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


Connect = Callable[[], Awaitable[Stream]]
Tags = Sequence[tuple[str, str]]

PROBE = "TLS handshake"
IDLE_S = 30.0
"""Lab seconds for which an idle connection is kept."""


class Used(NamedTuple):
    """A key that was fetched for use; ``state``: after its activation, if there was one."""

    material: KeyMaterial
    state: State | None


class NotActivated(dialect.OperationFailed):
    """A key is Pre-Active, and its server does not activate it for this client."""


class Dialogue:
    """The sessions with one server. ``on_step`` is called after each step, successful or not;
    ``seen`` is called with each answer."""

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        *,
        within_s: float,
        login: dialect.Login | None = None,
        pooled: bool = False,
        on_step: OnStep = lambda step: None,
        seen: Seen = unseen,
    ) -> None:
        self._connect, self._clock, self._within_s = connect, clock, within_s
        self._login, self._pooled, self._on_step, self._seen = login, pooled, on_step, seen
        self._idle: list[tuple[KmipSession, float]] = []

    def close(self) -> None:
        """Close pooled connections, and keep none of those in use."""
        self._pooled = False
        while self._idle:
            self._idle.pop()[0].close()

    # ---- tasks ------------------------------------------------------------------------------

    async def add_server(self) -> None:
        """Run the sessions of adding a server to a provider: seven connections."""
        await self.probe()
        await for_each((self._look_twice, self.probe), lambda act: act(), name="add-server")
        async with self._session() as session:
            await session.ask("Query", dialect.query(), QueryResponse)
        await self.probe()
        await self._look_twice()
        await self.probe()

    async def probe(self) -> None:
        """A handshake only, as for reading the server's certificate."""
        session = await self._open_session()
        session.close()

    async def health(self) -> tuple[str, ...]:
        """The periodic check: a probe, and a session; returns the versions of the server."""
        await self.probe()
        return await self._look_twice()

    async def create(self) -> str:
        """Create a key; returns its Unique Identifier. The key is Pre-Active."""
        async with self._session() as session:
            made = await session.ask("Create", dialect.create(self._login), CreateResponse)
        return made.unique_identifier

    async def tag(self, uid: str, tags: Tags) -> bool:
        """Add three attributes to a key, after reading each; False when one was refused.

        The key is used whatever fails.
        """
        try:
            async with self._session() as session:
                for name, _ in tags:
                    request = dialect.get_tag(uid, name)
                    await session.ask(f"Get Attributes ({name})", request, GetAttributesResponse)
                await session.all("Add Attribute", dialect.add_tags(uid, tags))
        except (ProductError, dialect.OperationFailed):
            return False
        return True

    async def set_text(self, uid: str, name: str, value: str) -> None:
        """Add a custom attribute of text to a key, unless the key has that value already."""
        async with self._session() as session:
            request = dialect.get_tag(uid, name)
            found = await session.ask(f"Get Attributes ({name})", request, GetAttributesResponse)
            if value not in (one.attribute_value for one in found.attribute):
                await session.all("Add Attribute", dialect.add_tags(uid, ((name, value),)))

    async def use(self, uid: str, *, activate: bool = True) -> Used:
        """The value of a key. A Pre-Active key is activated, unless only its state is wanted."""
        async with self._session() as session:
            material = await session.key(dialect.get(uid, self._login))
            state = await self._state(session, uid)
            if activate and state is State.PRE_ACTIVE:
                state = await self._activate(session, uid)
        return Used(material, state)

    async def activate(self, uid: str) -> State | None:
        """Activate a key if it is Pre-Active; returns its state then."""
        async with self._session() as session:
            state = await self._state(session, uid)
            return await self._activate(session, uid) if state is State.PRE_ACTIVE else state

    async def state(self, uid: str) -> State | None:
        """The state of a key; None when the server returns none that KMIP has."""
        async with self._session() as session:
            return await self._state(session, uid)

    async def run_operation(self, name: str, fields: Fields, expected: type[P]) -> P:
        """The payload that answers an operation without a vCenter task, in a session; with the user
        name, if there is one."""
        async with self._session() as session:
            return await session.ask(name, dialect.request((fields,), self._login), expected)

    # ---- sessions ---------------------------------------------------------------------------

    async def _state(self, session: KmipSession, uid: str) -> State | None:
        request = dialect.get_state(uid, self._login)
        return dialect.state(
            await session.ask("Get Attributes (State)", request, GetAttributesResponse)
        )

    async def _activate(self, session: KmipSession, uid: str) -> State:
        try:
            await session.ask("Activate", dialect.activate(uid, self._login), ActivateResponse)
        except dialect.OperationFailed as refused:
            if refused.reason == ResultReason.AUTHENTICATION_NOT_SUCCESSFUL:
                raise
            state = await self._state(session, uid)
            if state is State.PRE_ACTIVE or state is None:
                raise NotActivated(refused.item) from None
            return state
        return State.ACTIVE

    async def _look_twice(self) -> tuple[str, ...]:
        session = await self._open_session()
        try:
            await self._discover(session)
            return await self._discover(session, numbered=True)
        finally:
            session.close()

    async def _discover(self, session: KmipSession, *, numbered: bool = False) -> tuple[str, ...]:
        request = dialect.discover_versions(numbered=numbered)
        found = await session.ask("Discover Versions", request, DiscoverVersionsResponse)
        return tuple(
            f"{version.protocol_version_major}.{version.protocol_version_minor}"
            for version in found.protocol_version
        )

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[KmipSession]:
        """A connection after the usual beginning; it is closed, or kept when ``pooled``."""
        session = self._take_idle() or await self._begin_session()
        kept = False
        try:
            yield session
            kept = self._pooled  # the dialogue may have been closed meanwhile
        finally:
            if kept:
                self._idle.append((session, self._clock.monotonic()))
            else:
                session.close()

    def _take_idle(self) -> KmipSession | None:
        """An idle connection; the server may have closed one that was idle for long."""
        while self._idle:
            session, since = self._idle.pop()
            if self._clock.monotonic() - since < IDLE_S:
                session.reuse(self._begin_session)
                return session
            session.close()
        return None

    async def _begin_session(self) -> KmipSession:
        session = await self._open_session()
        try:
            await self._discover(session)
        except BaseException:
            session.close()
            raise
        return session

    async def _open_session(self) -> KmipSession:
        begun = self._clock.monotonic()
        try:
            stream = await self._connect()
        except ProductError as error:
            self._on_step(
                SessionStep(PROBE, self._clock.monotonic() - begun, _describe_error(error))
            )
            raise
        self._on_step(SessionStep(PROBE, self._clock.monotonic() - begun))
        return KmipSession(stream, self._clock, self._within_s, self._on_step, self._seen)


def _describe_error(error: ProductError) -> str:
    return f"{type(error).__name__}: {error}"
