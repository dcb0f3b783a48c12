"""What a driver provides for connections (how parts get to the other end), and one direction of a
connection: in order, each part when a judge lets it pass.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from protocol.terms import NodeName

FIRST_RETRY_S: Final = 0.2
LONGEST_RETRY_S: Final = 3.2
GIVE_UP_S: Final = 924.6
"""Lab seconds after which a sender gives up: the time of Linux's fifteen retransmissions."""


class PartKind(Enum):
    """What a part of a connection is."""

    OPENING = "opening"  # a request for a connection, or the answer
    HANDSHAKE = "handshake"  # bytes of a handshake
    DATA = "data"
    CLOSING = "closing"  # this end sends nothing more
    BROKEN = "broken"  # the connection is broken


@dataclass(slots=True)
class StreamPart:
    """Bytes that travel together. ``weight`` is how many plain bytes they have, for bounds."""

    kind: PartKind
    data: bytes = b""
    weight: int = 0


class Wait(Enum):
    """Why a part may not pass now."""

    RETRY = "retry"  # a rule holds the part: try again
    KICK = "kick"  # until ``Lane.go_on``: the receiver is not ready


Judge = Callable[[StreamPart], float | Wait]
"""How late a part leaves, in lab seconds, or why it must wait."""


class Timer(Protocol):
    """A scheduled call, which can be cancelled."""

    def cancel(self) -> None: ...


class Timing(Protocol):
    """The driver's clock, in lab seconds; it needs no life."""

    def now(self) -> float:
        """The lab's time."""
        ...

    def later(self, seconds: float, act: Callable[[], None]) -> Timer:
        """Call ``act`` in ``seconds``."""
        ...


@dataclass(slots=True)
class _Queued:
    part: StreamPart
    since: float
    due: float
    passed: bool = False
    tries: int = 0


class StreamLane:
    """One direction at one end. ``put`` is called with each part that passes. ``give_up`` is called
    when nothing has passed for too long; without it the lane waits for ever.

    ``weight`` is the plain bytes of all waiting parts. ``emptied`` is called when none waits any
    more.
    """

    def __init__(
        self,
        timing: Timing,
        judge: Judge,
        put: Callable[[StreamPart], None],
        give_up: Callable[[], None] | None = None,
    ) -> None:
        self.weight = 0
        self.emptied: Callable[[], None] | None = None
        self._timing, self._judge, self._put, self._give_up = timing, judge, put, give_up
        self._queue: deque[_Queued] = deque()
        self._timer: Timer | None = None
        self._going = self._over = False

    @property
    def empty(self) -> bool:
        """Whether no part waits."""
        return not self._queue

    @property
    def clear(self) -> bool:
        """Whether a part that the judge lets pass now passes at once."""
        return not self._queue and not self._over

    def send(self, part: StreamPart) -> None:
        """Let ``part`` pass after all earlier parts."""
        verdict = Wait.KICK if self._over else self._judge(part)
        if self._over:  # the judge may have broken the connection
            return
        if verdict == 0.0 and not self._queue:
            self._put(part)
            return
        now = self._timing.now()
        queued = _Queued(part, now, now)
        self._note(queued, verdict, now)
        self._queue.append(queued)
        self.weight += part.weight
        if len(self._queue) == 1:
            self._wait(queued, verdict)

    def go_on(self) -> None:
        """The receiver is ready again: try the parts that wait for it."""
        if self._queue and self._timer is None and not self._going:
            self._pass_parts()

    def drop(self) -> None:
        """Drop the waiting parts; nothing more passes."""
        self._over = True
        self._queue.clear()
        self.weight = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note(self, queued: _Queued, verdict: float | Wait, now: float) -> None:
        if isinstance(verdict, Wait):
            if verdict is Wait.RETRY:
                queued.due = now + min(FIRST_RETRY_S * 2**queued.tries, LONGEST_RETRY_S)
                queued.tries = min(queued.tries + 1, 16)
        else:
            queued.passed, queued.due = True, now + verdict

    def _wait(self, head: _Queued, verdict: float | Wait | None) -> None:
        if verdict is not Wait.KICK:
            self._timer = self._timing.later(
                max(0.0, head.due - self._timing.now()), self._handle_timer
            )

    def _handle_timer(self) -> None:
        self._timer = None
        self._pass_parts()

    def _pass_parts(self) -> None:
        """Let pass what may, from the front on. ``put`` may call ``send``, which only appends while
        a part is at the front."""
        self._going = True
        try:
            while self._queue:
                head, now = self._queue[0], self._timing.now()
                verdict: float | Wait | None = None
                if not head.passed and head.due <= now:
                    verdict = self._judge(head.part)
                    if self._over:  # the judge broke the connection
                        return
                    self._note(head, verdict, now)
                    late = verdict is Wait.RETRY and now - head.since > GIVE_UP_S
                    if late and self._give_up is not None:
                        self._give_up()
                        return
                if not head.passed or head.due > now:
                    self._wait(head, verdict)
                    return
                self._put(head.part)
                if self._queue and self._queue[0] is head:
                    self._queue.popleft()
                    self.weight -= head.part.weight
        finally:
            self._going = False
        if self.emptied is not None and not self._over:
            self.emptied()


class Carrier(Protocol):
    """One end's channel to the other end. Parts that the rules let pass are put into it, in
    order."""

    @property
    def full(self) -> bool:
        """Whether so much is in transit that writers should wait."""
        ...

    @property
    def room(self) -> int:
        """How many bytes may be put before it is full; a lower bound."""
        ...

    def put(self, part: StreamPart) -> None:
        """Send ``part`` to the other end, where ``ConnectionEnd.receive_part`` is called."""
        ...

    def pause(self, paused: bool) -> None:
        """Stop delivering parts to this end, or resume."""
        ...

    def call_when_closed(self, act: Callable[[], None]) -> None:
        """The channel was closed: call ``act`` when nothing of it is left here, which may be at
        once."""
        ...

    def stop(self) -> None:
        """Break the channel: parts in transit are lost, and the other end is notified."""
        ...


class ConnectionEnd(Protocol):
    """One end of a connection, as a driver uses it."""

    @property
    def unread(self) -> int:
        """Plain bytes that have arrived and were not read."""
        ...

    def receive_part(self, part: StreamPart) -> None:
        """The driver has received a part from the other end."""
        ...

    def receive_bytes(self, data: bytes) -> None:
        """As ``receive_part`` for data."""
        ...

    def wake_writer(self) -> None:
        """The carrier has room again."""
        ...

    def begin_handshake(self, carrier: Carrier) -> None:
        """The channel to the other end is open, without a question: begin the handshake."""
        ...

    def grant_dial(self, carrier: Carrier) -> None:
        """Let the caller behind ``carrier`` begin the handshake."""
        ...


class Admitting(Protocol):
    """Decides whether other nodes may connect."""

    def incoming(self, src: NodeName, opening: bytes) -> ConnectionEnd | str:
        """Accept or refuse a connection from ``src``; ``opening``: the content of its first part.

        Returns this node's end of it, or the reason for a refusal.
        """
        ...


class StreamDriver(Protocol):
    """The connections of one life, as the driver has them."""

    @property
    def timing(self) -> Timing:
        """The clock for the connections of this life; it calls nothing when the life is over."""
        ...

    async def open(self, port: Admitting) -> None:
        """Pass requests of other nodes to ``port``. Raises ``OSError``."""
        ...

    def dial(self, to: str, connection: ConnectionEnd) -> Carrier:
        """Open a channel to a node. Its first part is the request, sent until it is answered."""
        ...

    async def dial_outside(self, address: str, connection: ConnectionEnd) -> Carrier:
        """Open a channel to ``host:port``. Raises ``Refused``, ``Disconnected`` or
        ``NotAvailable``."""
        ...

    async def listen_outside(
        self, host: str, port: int, take: Callable[[], ConnectionEnd | None]
    ) -> int | None:
        """Accept connections there, each for the end that ``take`` builds (None: no room).

        Returns the port; None when this driver has no outside. Raises ``OSError``.
        """
        ...

    def close_outside(self) -> None:
        """Accept no new connections from outside."""
        ...

    def close(self) -> None:
        """Accept no new connections at all."""
        ...
