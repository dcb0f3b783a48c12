"""vCenter's sessions with one key server: which connections, and which messages in which order.

As with a real vCenter, each task has a connection of its own, which begins with Discover Versions.
Get comes before Activate, so a key server must give out a Pre-Active key. A key is tagged with six
attributes in two batches of three, each read before. ``pooled`` keeps connections and sends
Discover Versions once, for a client that fetches many keys.

A refused tag is ignored, and the key is used all the same. If a server refuses to activate a key,
the key's state is read once more: another client may have activated it meanwhile, and KMIP refuses
to activate an Active key. Every other refusal ends the session: ``OperationFailed``, and
``NotActivated`` for a key that stays Pre-Active. A connection that fails raises ``Refused``,
``TlsFailure``, ``TimedOut`` or ``Disconnected``.
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
from services.keyservers.session import KmipSession, OnStep, P, Seen, SessionStep, unseen
from services.runtime.each import for_each
from services.runtime.ports import Clock
from services.runtime.streams import Stream

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
