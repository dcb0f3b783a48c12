"""vCenter's sessions with one key server: which connections, and which messages in which order.

As a real vCenter has them: each task has a connection of its own, which begins with Discover
Versions; Get comes before Activate, so that a key server must give out a Pre-Active key; a key is
tagged with six attributes in two batches of three, each looked at before. ``pooled`` keeps
connections and begins with Discover Versions once, as a client would that has many keys to fetch.

A server that refuses a tag is forgiven, and the key is used all the same. Where it refuses to
activate a key, the key's state is looked at once more: somebody else may have done it meanwhile,
and KMIP refuses to activate what is Active. Everything else that is refused ends the session:
``OperationFailed``, and ``NotActivated`` for a key that stays Pre-Active. A connection that fails
is ``Refused``, ``TlsFailure``, ``TimedOut`` or ``Disconnected``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple

from protocol.errors import ProductError
from protocol.kmip import dialect
from protocol.kmip.enums import ResultReason, State
from protocol.kmip.fields import Fields
from protocol.kmip.payloads import (
    ActivateResponse,
    CreateResponse,
    DiscoverVersionsResponse,
    GetAttributesResponse,
    QueryResponse,
)
from protocol.secret import KeyMaterial
from services.keyservers.session import Heard, KmipSession, P, Seen, SessionStep, unseen
from services.runtime.each import for_each
from services.runtime.ports import Clock
from services.runtime.streams import Stream

Connect = Callable[[], Awaitable[Stream]]
Tags = Sequence[tuple[str, str]]

PROBE = "TLS handshake"
IDLE_S = 30.0
"""Lab seconds for which a connection is kept that nobody uses."""


class Used(NamedTuple):
    """A key as it was fetched to be used; ``state``: after its activation, if it had one."""

    material: KeyMaterial
    state: State | None


class NotActivated(dialect.OperationFailed):
    """A key is Pre-Active, and its server does not activate it for this client."""


class Dialogue:
    """With one server. ``heard`` is told of each step, whether it went well or not; ``seen`` is
    shown each answer."""

    def __init__(
        self,
        connect: Connect,
        clock: Clock,
        *,
        within_s: float,
        login: dialect.Login | None = None,
        pooled: bool = False,
        heard: Heard = lambda step: None,
        seen: Seen = unseen,
    ) -> None:
        self._connect, self._clock, self._within_s = connect, clock, within_s
        self._login, self._pooled, self._heard, self._seen = login, pooled, heard, seen
        self._idle: list[tuple[KmipSession, float]] = []

    def close(self) -> None:
        """End connections that are kept, and keep none of those that are in use."""
        self._pooled = False
        while self._idle:
            self._idle.pop()[0].close()

    # ---- tasks ------------------------------------------------------------------------------

    async def add_server(self) -> None:
        """What is said when a server is added to a provider: seven connections."""
        await self.probe()
        await for_each((self._look_twice, self.probe), lambda act: act(), name="add-server")
        async with self._session() as session:
            await session.ask("Query", dialect.query(), QueryResponse)
        await self.probe()
        await self._look_twice()
        await self.probe()

    async def probe(self) -> None:
        """A handshake and nothing else, as for a look at the server's certificate."""
        session = await self._open_session()
        session.close()

    async def health(self) -> tuple[str, ...]:
        """The periodic look: a probe, and a session; the versions that the server speaks."""
        await self.probe()
        return await self._look_twice()

    async def create(self) -> str:
        """A new key's Unique Identifier; it is Pre-Active."""
        async with self._session() as session:
            made = await session.ask("Create", dialect.create(self._login), CreateResponse)
        return made.unique_identifier

    async def tag(self, uid: str, tags: Tags) -> bool:
        """Add three attributes to a key, after a look at each; False when it was refused.

        Whatever fails, the key is used all the same.
        """
        try:
            async with self._session() as session:
                for name, _ in tags:
                    asked = dialect.get_tag(uid, name)
                    await session.ask(f"Get Attributes ({name})", asked, GetAttributesResponse)
                await session.all("Add Attribute", dialect.add_tags(uid, tags))
        except (ProductError, dialect.OperationFailed):
            return False
        return True

    async def set_text(self, uid: str, name: str, value: str) -> None:
        """Add a custom attribute of text to a key, unless the key has that value already."""
        async with self._session() as session:
            asked = dialect.get_tag(uid, name)
            found = await session.ask(f"Get Attributes ({name})", asked, GetAttributesResponse)
            if value not in (one.attribute_value for one in found.attribute):
                await session.all("Add Attribute", dialect.add_tags(uid, ((name, value),)))

    async def use(self, uid: str, *, activate: bool = True) -> Used:
        """The value of a key, which is activated if it is Pre-Active, unless its state alone is
        wanted."""
        async with self._session() as session:
            material = await session.key(dialect.get(uid, self._login))
            state = await self._state(session, uid)
            if activate and state is State.PRE_ACTIVE:
                state = await self._activate(session, uid)
        return Used(material, state)

    async def activate(self, uid: str) -> State | None:
        """Activate a key if it is Pre-Active; its state then."""
        async with self._session() as session:
            state = await self._state(session, uid)
            return await self._activate(session, uid) if state is State.PRE_ACTIVE else state

    async def state(self, uid: str) -> State | None:
        """The state of a key; None when the server names none that KMIP has."""
        async with self._session() as session:
            return await self._state(session, uid)

    async def run_operation(self, name: str, asked: Fields, expected: type[P]) -> P:
        """The payload that answers an operation which vCenter has no task for, in a session; with
        the user name, if there is one."""
        async with self._session() as session:
            return await session.ask(name, dialect.request((asked,), self._login), expected)

    # ---- sessions ---------------------------------------------------------------------------

    async def _state(self, session: KmipSession, uid: str) -> State | None:
        asked = dialect.get_state(uid, self._login)
        return dialect.state(
            await session.ask("Get Attributes (State)", asked, GetAttributesResponse)
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
        asked = dialect.discover_versions(numbered=numbered)
        found = await session.ask("Discover Versions", asked, DiscoverVersionsResponse)
        return tuple(
            f"{version.protocol_version_major}.{version.protocol_version_minor}"
            for version in found.protocol_version
        )

    @asynccontextmanager
    async def _session(self) -> AsyncIterator[KmipSession]:
        """A connection that has begun as each does; it is closed, or kept when ``pooled``."""
        session = self._take_idle() or await self._begin_session()
        kept = False
        try:
            yield session
            kept = self._pooled  # it may have been closed meanwhile
        finally:
            if kept:
                self._idle.append((session, self._clock.monotonic()))
            else:
                session.close()

    def _take_idle(self) -> KmipSession | None:
        """A kept connection; what has been idle for long may have been closed by the server."""
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
            self._heard(SessionStep(PROBE, self._clock.monotonic() - begun, _describe_error(error)))
            raise
        self._heard(SessionStep(PROBE, self._clock.monotonic() - begun))
        return KmipSession(stream, self._clock, self._within_s, self._heard, self._seen)


def _describe_error(error: ProductError) -> str:
    return f"{type(error).__name__}: {error}"
