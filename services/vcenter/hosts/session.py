"""vCenter's session with one host: connecting, numbered commands, heartbeat, back-off.

Connecting is HostChanged (or vCenter's own try), then OpenSession, then step B8. The host's view is
requested every ``heartbeat_s``, and soon after the host rings; three misses in a row make the host
notResponding and end the session. A host that booted, or holds another session, is reconnected at
once.

Commands name a wanted state, so a command without an answer is repeated under a new number; the
host refuses the old one if it arrives later than the new one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeVar

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
from protocol.messages.host.session import (
    CheckForUpdates,
    Command,
    HostSummary,
    OpenSession,
    QueryHost,
    TrustView,
    VmSummary,
)
from protocol.messages.host.vms import VmState
from protocol.terms import HostConnectionState, HostCryptoState, NodeName, VmName
from services.runtime.ports import Bus, Clock, Rng
from services.runtime.session import SessionCommands
from services.vcenter.knobs import VcenterKnobs, VcenterNode
from services.vcenter.timers import Beats, BeatTicks

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
"""Errors that say nothing about the request: the host did not execute it."""

MISSES = 3  # heartbeats without an answer until a host is notResponding
TRIES = 3  # sends of one command whose number was overtaken or whose answer was lost


class SessionOwner(Protocol):
    """The owner of the sessions of all hosts, as one session sees it."""

    @property
    def node(self) -> VcenterNode: ...
    @property
    def bus(self) -> Bus: ...
    @property
    def clock(self) -> Clock: ...
    @property
    def rng(self) -> Rng: ...
    @property
    def heartbeats(self) -> Beats: ...

    def next_session(self) -> str:
        """A name for a new session, never used before."""
        ...

    def moment(self) -> int:
        """A moment later than all before; it orders the reports of hosts."""
        ...

    async def took_view(self, session: HostSession) -> None:
        """``session.view`` was just received from the host."""
        ...

    def handle_vm_answer(self, session: HostSession, vm: VmSummary, requested_at: int) -> None:
        """Record a host's answer about one VM, to a command sent at the moment ``requested_at``."""
        ...

    def handle_session_opened(self, session: HostSession) -> None:
        """The session is in force, with the host's view: time for step B8."""
        ...

    def handle_heartbeat(self, session: HostSession, *, rang: bool) -> None:
        """A heartbeat was answered; ``rang``: the host itself had asked for a look."""
        ...


class HostSession:
    """vCenter's connection to one host; only this class changes its fields."""

    def __init__(self, host: NodeName, owner: SessionOwner) -> None:
        self.host = host
        self._owner = owner
        self._node, self._clock, self._bus = owner.node, owner.clock, owner.bus
        self._within_s = owner.node.knobs.request_timeout_s
        self._state = HostConnectionState.DISCONNECTED
        self._commands: SessionCommands | None = None  # of the session in force
        self.view = HostReport(owner.moment)
        self._seen_at = 0.0
        self._removed = False
        self._let_alone = False  # disconnected by an administrator
        self._opening = asyncio.Lock()
        self._knock = Knock(host, owner.clock)
        self.opened_at = 0  # the moment at which the session came into force
        self._boot_believed = 0  # the latest next life whose ring was believed
        self._rings, self._rings_answered = 0, 0
        self._misses = 0
        self._failures = 0
        self._not_before = 0.0
        self._heartbeat = BeatTicks()

    # ---- what is known ----------------------------------------------------------------------

    @property
    def state(self) -> HostConnectionState:
        """HostSystem.runtime.connectionState."""
        return self._state

    @property
    def connected(self) -> bool:
        """Whether a session is in force; without one there is no command."""
        return self._commands is not None

    @property
    def name(self) -> str:
        """The name of the session in force; empty without one. A new name means a new
        connection."""
        return "" if self._commands is None else self._commands.session

    @property
    def summary(self) -> HostSummary | None:
        """The host's last view; None when there was none in this life."""
        return self.view.summary

    @property
    def boot(self) -> int:
        """The boot number in the host's last view; 0 when there was none."""
        return self.view.boot

    @property
    def seen_at(self) -> float:
        """When the host last answered, in Unix seconds of this node's clock."""
        return self._seen_at

    # ---- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Stay connected from now on; the first attempt is made at once.

        Until it answers the host is notResponding; a host is disconnected only on request.
        """
        if not self.connected and not self._let_alone:
            self._state = HostConnectionState.NOT_RESPONDING
        self._owner.heartbeats.join(self._heartbeat, self._node)
        self._node.background(f"{self.host}:connection", self._keep())

    def remove(self) -> None:
        """The host left the inventory: end its session for good."""
        self._removed = True
        self._commands, self._state = None, HostConnectionState.DISCONNECTED
        self._owner.heartbeats.leave(self._heartbeat)

    def disconnect(self) -> None:
        """No session and no attempt to connect until ``reconnect``, even when the host rings."""
        self._let_alone = True
        self._commands, self._state = None, HostConnectionState.DISCONNECTED

    async def reconnect(self) -> None:
        """Connect now; a disconnected host stays so when this fails."""
        was, self._let_alone = self._let_alone, False
        try:
            await self.connect()
        except ProductError:
            if was:
                self.disconnect()
            raise

    async def _keep(self) -> None:
        if self.connected:  # connected by AddHost, before the host was in the inventory
            await self._owner.took_view(self)
            self._owner.handle_session_opened(self)
            await self._heartbeat.next()
        while not self._removed:
            if self.connected:
                await self._look_again()
            elif not self._let_alone and self._clock.monotonic() >= self._not_before:
                await self._try_to_connect()
            await self._heartbeat.next()

    # ---- connecting -------------------------------------------------------------------------

    async def connect(self, *, own: bool = False) -> None:
        """Open a session; no change when there is one. Raises the errors of the bus.

        Step B8 works on the view in the answer. ``own``: give up when the host rings.
        """
        async with self._opening:
            if self.connected:
                return
            name, rings, at = self._owner.next_session(), self._rings, self._owner.moment()
            message = OpenSession(session=name, vcenter_boot=self._node.boot)
            reply = self._bus.request(self.host, message, within_s=self._within_s)
            opened = await (self._knock.answer(reply, self._within_s) if own else reply)
            summary = await whole_view(opened.summary, self._next_page)
            if self._removed or self._let_alone:
                raise HostUnreachable(f"{self.host} was taken away from vCenter meanwhile")
            self._commands, self.opened_at = SessionCommands(name), self._owner.moment()
            self._state = HostConnectionState.CONNECTED
            self._misses = self._failures = 0
            self._rings_answered = rings
            self._node.record("host.connected", host=self.host, boot=summary.boot)
        await self._take_view(ReportedView(summary), at)
        self._owner.handle_session_opened(self)

    async def _try_to_connect(self) -> None:
        rings = self._rings
        try:
            await self.connect(own=True)
        except ProductError as error:
            self._failures += 1
            self._miss(error)
            pause_s = pause_s_after(self._failures, self._node.knobs.heartbeat_s)
            spread = self._owner.rng.stream("vcenter.reconnect").uniform(0.5, 1.0)
            self._not_before = self._clock.monotonic() + pause_s * spread
            if self._rings != rings:  # it booted while its earlier life was asked
                self._not_before = 0.0
                self._heartbeat.tick_now()

    def rang(self, boot: int) -> None:
        """HostChanged: connect if the host has booted since, else look at it soon.

        A ring is a reason to look, not evidence. A ring of the life after the known one is believed
        once, which saves the look. For any other, vCenter looks, and the host's answer decides
        whether it must be reconnected. So neither a late nor a forged ring locks out a host.
        """
        self._rings += 1
        self._knock.rang(boot)
        if self._let_alone:
            return
        believed = boot == self.boot + 1 and boot != self._boot_believed
        if not self.connected or believed:
            self._boot_believed = boot
            self._end("the host asks to be connected")
        else:
            self._heartbeat.tick_now()

    def _end(self, reason: str) -> None:
        """The session is over; reconnect at once."""
        if self.connected:
            self._node.record("host.lost", level="warning", host=self.host, reason=reason)
        self._commands = None
        self._not_before = 0.0
        self._heartbeat.tick_now()

    # ---- looking ----------------------------------------------------------------------------

    async def _look_again(self) -> None:
        commands, rings = self._commands, self._rings
        rang = rings != self._rings_answered
        try:
            await self.look(TRIES if rang else 1)
        except ProductError as error:
            if self._commands is commands:
                self._miss(error)
            return
        if self._commands is commands:
            self._rings_answered = rings
            self._owner.handle_heartbeat(self, rang=rang)

    async def look(self, tries: int = TRIES) -> HostSummary:
        """Request the host's view, at most ``tries`` times, and return what is known then.

        An answer is believed only if no command was in flight meanwhile: it may have been written
        before the command and read after it. ``HostUnreachable`` when the session is not, or no
        longer, in force.
        """
        commands = self._commands
        for _ in range(tries):
            believable, requested_at = self.view.quiet_since(), self._owner.moment()
            view = await self._check_for_updates()
            if commands is None or self._commands is not commands:
                raise HostUnreachable(f"{self.host} is connected anew")
            if view.summary.session != commands.session:
                self._end("the host holds another session")
                raise HostUnreachable(f"{self.host} holds another session")
            self._misses, self._seen_at = 0, self._clock.now()
            if believable():
                await self._take_view(view, requested_at)
                return view.summary
        if self.view.summary is None:
            raise HostUnreachable(f"{self.host} has not been seen in this session")
        return self.view.summary

    async def mode_now(self) -> HostCryptoState:
        """The host's encryption mode, requested now; it is noted in the view.

        ``HostUnreachable`` when the session is not, or no longer, in force.
        """
        commands = self._commands
        summary = (await self.ask(QueryHost(vms=False))).summary
        if commands is None or self._commands is not commands:
            raise HostUnreachable(f"{self.host} is connected anew")
        self.view.apply(crypto_state=summary.crypto_state)
        return summary.crypto_state

    async def _check_for_updates(self) -> ReportedView:
        """The host's present view; the host sends it only if it differs from the last one."""
        known = self.view.received  # read now: another look may receive a newer one meanwhile
        update = await self.ask(CheckForUpdates(version="" if known is None else known.version))
        if update.summary is not None:
            return ReportedView(await whole_view(update.summary, self._next_page), update.version)
        if known is None or update.version != known.version:
            raise HostUnreachable(f"{self.host} names a view that it never sent")
        return known

    async def _next_page(self, after: VmName) -> HostSummary:
        return (await self.ask(QueryHost(after=after))).summary

    async def _take_view(self, view: ReportedView, requested_at: int) -> None:
        """Take the host's view, which just arrived and was requested at that moment."""
        self._seen_at = self._clock.now()
        self.view.take(view, requested_at)
        await self._owner.took_view(self)

    def _miss(self, error: ProductError) -> None:
        self._misses += 1
        if self._misses >= MISSES and self._state is HostConnectionState.CONNECTED:
            self._commands, self._state = None, HostConnectionState.NOT_RESPONDING
            self._node.record(
                "host.lost", level="warning", host=self.host, reason=f"no answer: {error}"
            )

    # ---- messages ---------------------------------------------------------------------------

    async def ask(self, message: Request[R], *, within_s: float | None = None) -> R:
        """Send a query; it needs no session. ``within_s``: for one that takes long."""
        limit_s = self._within_s if within_s is None else within_s
        return await self._bus.request(self.host, message, within_s=limit_s)

    async def command(self, command: Command[R], *, within_s: float | None = None) -> R:
        """Send a command in the session in force.

        ``HostUnreachable``: there is no session, nothing happened. ``TimedOut`` and
        ``Disconnected``: one of the tries may have had its effect, whatever the others returned;
        the same command may be given again. ``within_s``: for one that takes long.
        """
        failure: ProductError = HostUnreachable(f"vCenter has no session to {self.host}")
        # The first error after which the command may have had its effect.
        unsure: ProductError | None = None
        for _ in range(TRIES):
            commands = self._commands
            if commands is None:
                break
            try:
                return await self._send(commands.stamp(command), within_s)
            except (TimedOut, Disconnected) as error:
                if unsure is not None:
                    raise
                failure = unsure = error
            except (NotConnected, NotSent) as error:
                failure = error
        if isinstance(failure, NotConnected):
            self._end("the host refuses the session")
            failure = HostUnreachable(f"{self.host} refuses the session: {failure}")
        raise unsure or failure

    async def command_vm(self, command: Command[VmState]) -> VmSummary:
        """As ``command``; the host's answer about the VM counts as its latest report of it."""
        requested_at = self._owner.moment()
        summary = (await self.command(command)).summary
        self._owner.handle_vm_answer(self, summary, requested_at)
        return summary

    async def _send(self, command: Command[R], within_s: float | None = None) -> R:
        limit_s = within_s or time_for(command, self.summary, self._node.knobs, self._clock)
        with self.view.command_under_way():
            return await self._bus.request(self.host, command, within_s=limit_s)


# ---- back-off ------------------------------------------------------------------------------------
# How long vCenter waits between two tries to connect a host. Pure.

LONGEST_PAUSE_HEARTBEATS = 3.0  # heartbeats between two tries to connect, at most


def pause_s_after(failures: int, heartbeat_s: float) -> float:
    """Lab seconds until the next try to connect, after so many failed ones, without the random
    spread."""
    return float(min(LONGEST_PAUSE_HEARTBEATS, 0.1 * 2.0 ** min(failures, 10)) * heartbeat_s)


# ---- host view -----------------------------------------------------------------------------------
# The last view that a host sent, its version, and whether a command may have changed it since.
#
# A view shows the host as it was when the host wrote it. A command on its way at that time may have
# changed the host before or after, so the view is current only while no command was sent or
# answered since. A host that confirms a version confirms the whole view that it sent with it.


class ReportedView(NamedTuple):
    """A host's view as received; ``version`` is empty when the host did not send one."""

    summary: HostSummary
    version: str = ""


class HostReport:
    """The last report of one host; ``moment`` returns growing moments."""

    def __init__(self, moment: Callable[[], int]) -> None:
        self._moment = moment
        self._received: ReportedView | None = None
        self._summary: HostSummary | None = None  # with the changes made by commands
        self._flying = 0  # commands sent to this life of the host and not answered
        self._activity = 0  # counts their sends and their ends
        self._activity_seen = -1  # the count when the latest view arrived
        self._times = (0, 0)

    @property
    def summary(self) -> HostSummary | None:
        """The host's last view, with changes that commands are known to have made; None before
        it."""
        return self._summary

    @property
    def received(self) -> ReportedView | None:
        """The host's last view as received, without later changes; None before it."""
        return self._received

    @property
    def boot(self) -> int:
        """The boot number in the host's last view; 0 when there was none."""
        return 0 if self._summary is None else self._summary.boot

    @property
    def times(self) -> tuple[int, int]:
        """The moments at which the latest view was requested and received."""
        return self._times

    @property
    def is_current(self) -> bool:
        """Whether no command was sent, or answered, since the host's last view."""
        return self._activity_seen == self._activity

    def apply(self, **changes: object) -> None:
        """Note the change that a command has just made, until the host is asked again."""
        if self._summary is not None:
            self._summary = msgspec.structs.replace(self._summary, **changes)

    def take(self, view: ReportedView, requested_at: int) -> None:
        """Take the host's view, requested at the moment ``requested_at``, which just arrived.

        A command to an earlier life of the host changes nothing any more.
        """
        if view.summary.boot != self.boot:
            self._flying = 0
        self._received, self._summary = view, view.summary
        self._times = (requested_at, self._moment())
        self._activity_seen = self._activity

    def quiet_since(self) -> Callable[[], bool]:
        """A function for later: whether no command was in flight between this call and that one.

        An answer received in between was then neither written before a command nor read after it.
        """
        quiet, activity = self._flying == 0, self._activity
        return lambda: quiet and activity == self._activity

    @contextmanager
    def command_under_way(self) -> Iterator[None]:
        """A context for the time from sending a command to its answer."""
        boot = self.boot
        self._flying += 1
        self._activity += 1
        try:
            yield
        finally:
            if boot == self.boot:
                self._flying -= 1
                self._activity += 1


# ---- knock ---------------------------------------------------------------------------------------
# A try to connect to a host that may be off: its silence is waited for until the host rings.
#
# A machine that is off is silent, and a request to it lasts to its limit, which on real processes
# is some real seconds and so minutes of the lab. A host that boots meanwhile rings: nobody waits
# for the answer of the earlier life then, least of all the host's autostart (LOCK-05).

R = TypeVar("R")


class Knock:
    """At most one wait at a time; each life of the host ends at most one."""

    def __init__(self, host: NodeName, clock: Clock) -> None:
        self._host, self._clock = host, clock
        self._end_at: Callable[[float], None] | None = None  # of the wait
        self._boot = 0  # the life whose ring ended a wait

    async def answer(self, reply: Awaitable[R], within_s: float) -> R:
        """The answer within so many lab seconds; ``TimedOut`` when the host rings first."""
        try:
            async with self._clock.timeout(within_s) as wait:
                self._end_at = wait.reschedule
                return await reply
        except TimeoutError:
            raise TimedOut(f"{self._host} booted before it answered") from None
        finally:
            self._end_at = None

    def rang(self, boot: int) -> None:
        """The host rings in this life."""
        if self._end_at is not None and boot != self._boot:
            self._boot = boot
            self._end_at(0.0)  # a time in the past: now


# ---- time for a command --------------------------------------------------------------------------
# How long vCenter waits for a host to execute a command.


def time_for(
    command: Command[Any], summary: HostSummary | None, knobs: VcenterKnobs, clock: Clock
) -> float:
    """Lab seconds that a host has to answer ``command``; ``summary``: its last view.

    A trusted host that needs keys may have to ask an Attestation Service, and then a Key Provider
    Service, on each machine of the Trust Authority in turn, and wait for each silent one (KPS-06).
    Each of these waits is a limit of its own, which the clock may raise.
    """
    trusted = None if summary is None else summary.trusted
    if not command.seeks_keys or not isinstance(trusted, TrustView):
        return knobs.request_timeout_s
    services = 2 * len(trusted.reports)
    each_s = clock.limit(knobs.trust_timeout_s)
    return clock.limit(knobs.request_timeout_s) + services * each_s


# ---- view pages ----------------------------------------------------------------------------------
# A host's view of itself, put together from its pages.


async def whole_view(
    page: HostSummary, next_page: Callable[[VmName], Awaitable[HostSummary]]
) -> HostSummary:
    """The view that begins with ``page``, with the VMs that did not fit into the message.

    ``next_page`` requests the VMs after one. Everything but VMs is from the last page.
    ``NotConnected`` when the host booted, or got another session, between two pages: they are of
    two lives.
    """
    first, vms = page, list(page.vms)
    while page.more_vms:
        page = await next_page(vms[-1].vm)
        if (page.boot, page.session) != (first.boot, first.session):
            raise NotConnected(f"{first.host} got a new session while it listed its VMs")
        vms += page.vms
    return page if page is first else msgspec.structs.replace(page, vms=tuple(vms))
