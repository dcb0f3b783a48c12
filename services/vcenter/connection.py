"""vCenter's line to each host: session, numbered commands, heartbeat, back-off.

Connecting is HostChanged (or vCenter's own try) -> OpenSession -> step B8. Every
``heartbeat_s``, and soon after the host rings, the host is asked for its view; three misses in
a row make it notResponding and end the session. A host that booted, or holds another session, is
connected anew at once.

Commands name a wanted state, so an answer that did not come is asked for again under a new
number; the host refuses the old one if it arrives later than the new.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import msgspec

from protocol.errors import (
    Busy,
    Disconnected,
    HostUnreachable,
    Internal,
    NotConnected,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
)
from protocol.messages.base import Request
from protocol.messages.host import (
    Command,
    HostSummary,
    OpenSession,
    QueryHost,
    VmSummary,
)
from protocol.terms import HostConnectionState, NodeName, VmName
from services.runtime.ports import Bus, Clock, Rng
from services.runtime.session import SessionCommands
from services.vcenter.knobs import VcenterNode
from services.vcenter.pulse import Pulse

R = TypeVar("R")

UNANSWERED = (
    Busy,
    Disconnected,
    HostUnreachable,
    Internal,
    NotConnected,
    NotSent,
    Refused,
    TimedOut,
)
"""Errors that say nothing about what was asked: the host did not come to judge it."""

MISSES = 3  # heartbeats without an answer until a host is notResponding
TRIES = 3  # sends of one command while its number was overtaken or its answer lost
LONGEST_PAUSE = 3.0  # heartbeats between two tries to connect, at most


class HostLink:
    """One host. ``summary`` is its last word about itself; ``session`` None = no command."""

    def __init__(self, host: NodeName, links: HostLinks) -> None:
        self.host = host
        self.state = HostConnectionState.DISCONNECTED
        self.session: SessionCommands | None = None
        self.summary: HostSummary | None = None
        self.seen_at = 0.0
        self.removed = False
        self.turn = asyncio.Lock()  # one pass of B8 at a time, and what must not cross it
        self.told: set[str] = set()  # reports made once per boot of the host (``push``)
        self.incomplete = False  # the last pass was cut short: again at the next heartbeat
        self.passed = asyncio.Event()  # a pass of B8 has come to its end
        self.announced = 0  # latest boot in which the host rang
        self._rung = False  # the host asked to be looked at, and was not yet
        self._view_at = -1  # activity at which the view came that no pass has used yet
        self._links = links
        self._opening = asyncio.Lock()
        self._flying = 0  # commands sent and not answered
        self._activity = 0  # counts their sends and their ends
        self._misses = 0
        self._failures = 0
        self._not_before = 0.0
        self._work = asyncio.Event()
        node, clock, period = links.node, links.clock, links.node.knobs.heartbeat_s
        self._pulse = Pulse(node, clock, f"{host}:heartbeat", period, jitter=period / 10)

    # ---- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Keep connected from now on; the first try is made at once."""
        self._pulse.poke()
        self._pulse.start()
        self._links.node.background(f"{self.host}:connection", self._keep())
        self._links.node.background(f"{self.host}:work", self._serve_work())

    def remove(self) -> None:
        self.removed = True
        self.session, self.state = None, HostConnectionState.DISCONNECTED
        self._pulse.stop()
        self._work.set()

    async def _keep(self) -> None:
        while not self.removed:
            if self.session is not None:
                await self._heartbeat()
            elif self._links.clock.monotonic() >= self._not_before:
                await self._try_to_connect()
            await self._pulse.next()

    async def _serve_work(self) -> None:
        while True:
            await self._work.wait()
            if self.removed:
                return
            self._work.clear()
            if self.session is not None:
                await self._links.make_good(self)
                if not self.incomplete:
                    self.passed.set()

    def want_pass(self) -> None:
        """Ask for a pass of B8 soon, on a new view; several asks before it begins are one."""
        self._view_at = -1
        self._work.set()

    # ---- session ----------------------------------------------------------------------------

    async def connect(self) -> None:
        """Open a session and ask for B8; no change when there is one. Raises what the bus says."""
        async with self._opening:
            if self.session is not None:
                return
            session = self._links.next_session()
            opened = await self._links.bus.request(
                self.host,
                OpenSession(session=session, vcenter_boot=self._links.node.boot),
                within=self._links.within,
            )
            if opened.summary.boot < self.announced:
                raise NotConnected(f"{self.host} has booted meanwhile")
            before = self.summary
            if before is None or before.boot != opened.summary.boot:
                self.told.clear()
            self.session = SessionCommands(session)
            self.state = HostConnectionState.CONNECTED
            self._misses = self._failures = 0
            self._links.node.record("host.connected", host=self.host, boot=opened.summary.boot)
        self._rung = False
        await self.saw(opened.summary)
        self._work.set()

    async def _try_to_connect(self) -> None:
        announced = self.announced
        try:
            await self.connect()
        except ProductError as error:
            self._failures += 1
            self._miss(error)
            period = self._links.node.knobs.heartbeat_s
            pause = min(LONGEST_PAUSE, 0.1 * 2.0 ** min(self._failures, 10)) * period
            spread = self._links.rng.stream("vcenter.reconnect").uniform(0.5, 1.0)
            self._not_before = self._links.clock.monotonic() + pause * spread
            if self.announced != announced:  # it booted while its earlier life was asked
                self._not_before = 0.0
                self._pulse.poke()

    async def _heartbeat(self) -> None:
        session = self.session
        rung = self._rung
        try:
            await self.look(TRIES if rung else 1)
        except ProductError as error:
            if self.session is session:
                self._miss(error)
            return
        if self.session is not session:
            return
        self._rung = self._rung and self._view_at != self._activity
        if self.incomplete or self._links.needs_pass(self, rung):
            self._work.set()

    async def look(self, tries: int = 1) -> HostSummary:
        """Ask for the host's view, at most ``tries`` times, and return what is known then.

        An answer is believed only if no command was on its way meanwhile: it may have been
        written before the command and be read after it. ``HostUnreachable`` when the session is
        not, or no longer, in force.
        """
        session = self.session
        for _ in range(tries):
            quiet, activity = self._flying == 0, self._activity
            state = await self.ask(QueryHost())
            if session is None or self.session is not session:
                raise HostUnreachable(f"{self.host} is connected anew")
            if state.summary.session != session.session:
                self.lost("the host holds another session")
                raise HostUnreachable(f"{self.host} holds another session")
            self._misses, self.seen_at = 0, self._links.clock.now()
            if quiet and activity == self._activity:
                await self.saw(state.summary)
                return state.summary
        if self.summary is None:
            raise HostUnreachable(f"{self.host} has not been seen in this session")
        return self.summary

    def _miss(self, error: ProductError) -> None:
        self._misses += 1
        if self._misses >= MISSES and self.state is not HostConnectionState.NOT_RESPONDING:
            self.session, self.state = None, HostConnectionState.NOT_RESPONDING
            self._links.node.record(
                "host.lost", level="warning", host=self.host, reason=f"no answer: {error}"
            )

    def lost(self, reason: str) -> None:
        """The session is over; connect anew at once."""
        if self.session is not None:
            self._links.node.record("host.lost", level="warning", host=self.host, reason=reason)
        self.session = None
        self._not_before = 0.0
        self._pulse.poke()

    def rang(self, boot: int) -> None:
        """HostChanged: connect if it has booted since, else look. An older boot's is ignored."""
        if boot < self.announced:
            return
        self.announced, self._rung = boot, True
        known = self.summary.boot if self.summary is not None else 0
        if self.session is None or boot != known:
            self.lost("the host asks to be connected")
        else:
            self._pulse.poke()

    def learn(self, **fields: object) -> None:
        """What a command has just changed, until the host is asked again."""
        if self.summary is not None:
            self.summary = msgspec.structs.replace(self.summary, **fields)

    async def saw(self, summary: HostSummary) -> None:
        """The host's view as it came from it just now."""
        self.summary, self.seen_at = summary, self._links.clock.now()
        self._view_at = self._activity
        await self._links.adopt(self, summary.vms)

    async def view(self) -> HostSummary:
        """For a pass: the view that came just before it, if nothing was sent since; else look."""
        fresh, self._view_at = self._view_at == self._activity, -1
        if fresh and self.summary is not None:
            return self.summary
        return await self.look(TRIES)

    # ---- messages ---------------------------------------------------------------------------

    async def ask(self, message: Request[R]) -> R:
        """A question; it needs no session."""
        return await self._links.bus.request(self.host, message, within=self._links.within)

    async def command(self, command: Command[R]) -> R:
        """A command of the session in force.

        ``HostUnreachable``: there is no session, nothing happened. ``TimedOut`` and
        ``Disconnected`` after a repeat: it may have happened; the same command may be given again.
        """
        failure: ProductError = HostUnreachable(f"vCenter has no session to {self.host}")
        for _ in range(TRIES):
            session = self.session
            if session is None:
                break
            try:
                return await self._send(session.stamp(command))
            except (NotConnected, NotSent, TimedOut, Disconnected) as error:
                if isinstance(failure, TimedOut | Disconnected) and isinstance(
                    error, TimedOut | Disconnected
                ):
                    raise
                failure = error
        if isinstance(failure, NotConnected):
            self.lost("the host refuses the session")
            raise HostUnreachable(f"{self.host} refuses the session: {failure}")
        raise failure

    async def _send(self, command: Command[R]) -> R:
        self._flying += 1
        self._activity += 1
        try:
            return await self._links.bus.request(self.host, command, within=self._links.within)
        finally:
            self._flying -= 1
            self._activity += 1


class HostLinks:
    """All hosts of the inventory, by name in order of adding."""

    def __init__(
        self,
        node: VcenterNode,
        bus: Bus,
        clock: Clock,
        rng: Rng,
        adopt: Callable[[HostLink, tuple[VmSummary, ...]], Awaitable[None]],
    ) -> None:
        self.node, self.bus, self.clock, self.rng = node, bus, clock, rng
        self.within = node.knobs.request_timeout_s
        self.adopt = adopt
        self.make_good: Callable[[HostLink], Awaitable[None]]
        self.needs_pass: Callable[[HostLink, bool], bool]
        self._links: dict[NodeName, HostLink] = {}
        self._sessions = 0

    def next_session(self) -> str:
        """Never given twice, also not by an earlier life: the boot is in it."""
        self._sessions += 1
        return f"{self.node.name}/{self.node.boot}/{self._sessions}"

    def add(self, host: NodeName) -> HostLink:
        """The link of that host; made when there is none, and then not started."""
        link = self._links.get(host)
        if link is None:
            link = self._links[host] = HostLink(host, self)
        return link

    def get(self, host: NodeName) -> HostLink | None:
        return self._links.get(host)

    def remove(self, host: NodeName) -> None:
        link = self._links.pop(host, None)
        if link is not None:
            link.remove()

    def connected(self) -> list[HostLink]:
        return [link for link in self._links.values() if link.session is not None]

    def usable(self, host: NodeName) -> HostLink:
        """The link for a task; ``HostUnreachable`` when the host is not connected."""
        link = self._links.get(host)
        if link is None or link.session is None:
            state = HostConnectionState.DISCONNECTED if link is None else link.state
            raise HostUnreachable(f"host {host} is {state.value}")
        return link

    def claims(self, host: NodeName, vm: VmName) -> bool:
        """Whether that host is connected and lists the VM."""
        link = self._links.get(host)
        if link is None or link.session is None or link.summary is None:
            return False
        return any(listed.vm == vm for listed in link.summary.vms)
