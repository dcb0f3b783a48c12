"""The runner of one life of one node: starts its service, serves, and stops in a fixed order.

Orderly stop: stop accepting -> let running requests finish within a limit -> cancel the rest and
log them by name -> the service's own ``stop`` -> close the bus. A crash is not handled here: the
incarnation ends and nothing of it runs any more (``machine``).
"""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from protocol.errors import (
    Busy,
    Disconnected,
    Internal,
    NotAvailable,
    NotConnected,
    ProductError,
    SaveFailed,
)
from protocol.messages.agent import NodeRecord, NodeSpec
from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import NodeName
from services.runtime import request_queues
from services.runtime.bus import CAUSE, BusPort, IncomingRequest
from services.runtime.incarnation import Incarnation, context_of
from services.runtime.knobs import Knobs
from services.runtime.ports import Ports
from services.runtime.request_queues import ServiceQueue, Ticket, TurnQueues
from services.runtime.service import Halted, Peer, PowerInputs, ServedBy, Service, ServiceNode
from services.runtime.tls.port import StreamPort

STOP_LIMIT_S = 10.0  # lab seconds that running requests get at an orderly stop


@dataclass(frozen=True)
class Recipe:
    """How a node is built: the knobs of its service, and the function that builds that service.

    ``build`` gets the runner as the service's node; a recipe pairs a service with its own kind of
    knobs. ``connects``: the node has TLS connections.
    """

    knobs: Knobs
    build: Callable[[Any, Ports], Service]
    connects: bool = True


class NodeRunner(ServiceNode):
    """Runs one service for one life; also the ``ServiceNode`` that the service sees."""

    def __init__(
        self,
        spec: NodeSpec,
        life: Incarnation,
        bus: BusPort,
        ports: Ports,
        power: PowerInputs,
        recipe: Recipe,
        observe: Callable[[NodeRecord], None],
        crashed: Callable[[str], None],
        streams: StreamPort | None = None,
        queue: ServiceQueue | None = None,
    ) -> None:
        self.spec, self.life, self.bus, self.ports = spec, life, bus, ports
        self.streams, self._queue = streams, queue
        self.internal_errors = 0
        self._power = power
        self._knobs = recipe.knobs
        self._observe, self._crashed = observe, crashed
        self._turns = TurnQueues()
        self._admission = RequestAdmission()
        self._running: dict[asyncio.Task[None], str] = {}
        self._background: dict[asyncio.Task[None], None] = {}
        self._own = context_of(life)
        self._idle = asyncio.Event()
        self._stop = asyncio.Event()
        self._group: asyncio.TaskGroup | None = None
        self._console_calls: dict[asyncio.Future[Reply | ProductError], None] = {}
        self.service = recipe.build(self, ports)

    # ---- what a service sees --------------------------------------------------------------

    @property
    def name(self) -> NodeName:
        return self.spec.node

    @property
    def boot(self) -> int:
        return self.life.boot

    @property
    def site(self) -> str:
        return self.spec.site

    @property
    def knobs(self) -> Knobs:
        return self._knobs

    @property
    def power(self) -> PowerInputs:
        return self._power

    def turn(self, key: str) -> Ticket:
        return self._turns.take(key)

    def end_turn(self) -> None:
        ticket = request_queues.CURRENT.get()
        if ticket is not None:
            ticket.end()

    def record(self, kind: str, *, level: str = "info", **fields: Any) -> None:
        self.life.check()
        self._observe(
            NodeRecord(
                at=self.ports.clock.monotonic(),
                node=self.name,
                boot=self.boot,
                level=level,
                kind=kind,
                fields=fields,
            )
        )

    def background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        if self._group is None:
            work.close()
            raise RuntimeError(f"{label}: the node has no life to run in")
        task = self._group.create_task(
            self._run_background(label, work), name=f"{self.name}:{label}"
        )
        self._background[task] = None

        def forget_task(task: asyncio.Task[None]) -> None:
            del self._background[task]
            work.close()  # cancelled before its first step, it never came to await the work

        task.add_done_callback(forget_task)

    async def _run_background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a background loop; its failure is a crash of the node, so that no half-dead node
        continues."""
        request_queues.CURRENT.set(
            None
        )  # the loop must not use the turn of the handler that started it
        try:
            await work
        except Exception as error:
            self.record(
                "node.background_failed", level="error", label=label, **describe_exception(error)
            )
            self._crashed(f"background {label}: {type(error).__name__}")

    def _spawn_stream(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        self.background(label, self._run_stream(label, work))

    async def _run_stream(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        """Run a connection; an unexpected failure ends only that connection, as with a request."""
        try:
            await work
        except Exception as error:
            self.internal_errors += 1
            self.record(
                "node.internal_error", level="error", request=label, **describe_exception(error)
            )

    # ---- life -----------------------------------------------------------------------------

    async def live(self, state: Callable[[str, str], None]) -> None:
        """The root task. ``state`` is called with ``running``, or ``halted`` and the screen."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self.bus.later = self.background
            try:
                if self.streams is not None:
                    self.streams.spawn = self._spawn_stream
                    await self.streams.open()
                if not await self.bus.open():
                    # No network: the machine boots anyway, and connects when the network is back.
                    self.record("bus.unreachable", level="warning", reason=self.bus.refused)
                    self.background("bus.connect", self.bus.keep_trying())
                await self.service.start()
            except Halted as halted:
                self.bus.abort()
                if self.streams is not None:
                    self.streams.abort()
                self._cancel_background()
                self.record("boot.halted", level="error", screen=halted.screen)
                state("halted", halted.screen)
                await self._stop.wait()
                return
            except OSError as error:
                self.record("node.start_failed", level="error", **describe_exception(error))
                where = f": {error.filename}" if error.filename else ""
                self._crashed(f"the disk refused at start: {error.strerror or error}{where}")
                return
            except Exception as error:
                self.record("node.start_failed", level="error", **describe_exception(error))
                self._crashed(f"start: {type(error).__name__}: {error}")
                return
            self.bus.accept = self.accept
            state("running", "")
            await self._stop.wait()
            await self._wind_down()

    def request_stop(self) -> None:
        """Begin the orderly stop; ``live`` returns when it is done."""
        self._stop.set()

    async def _wind_down(self) -> None:
        self.bus.accept = None
        if self.streams is not None:
            self.streams.stop_listening()
        try:
            async with self.ports.clock.timeout(STOP_LIMIT_S):
                while self._running:
                    self._idle.clear()
                    await self._idle.wait()
        except TimeoutError:
            self.record("node.cancelled", level="warning", requests=sorted(self._running.values()))
        for task in list(self._running):
            task.cancel()
        self._cancel_background()
        await self.service.stop()
        if self.streams is not None:
            self.streams.close()
        await self.bus.close()

    def _cancel_background(self) -> None:
        for task in tuple(self._background):
            task.cancel()

    # ---- serving --------------------------------------------------------------------------

    def accept(self, incoming: IncomingRequest) -> None:
        """Accept a request in order of arrival: refuse it, or give it a ticket and a task."""
        name = type(incoming.message).__name__
        served = self.service.handlers.get(name)
        if served is None:
            incoming.respond(NotAvailable(f"{self.name} does not serve this request"))
            return
        if self._group is None or not self._admission.has_room(incoming.peer):
            incoming.respond(Busy())
            return
        try:
            self.service.accept(incoming.message, incoming.peer)
        except ProductError as error:
            incoming.respond(error)
            return
        key = served.turn(incoming.message) if served.turn is not None else None
        ticket = self._turns.take(key) if key is not None else None
        task = self._group.create_task(
            self._handle(served, incoming, ticket), name=f"{self.name}:{name}"
        )
        self._running[task] = name
        self._admission.enter(incoming.peer)

    async def _handle(
        self, served: ServedBy, incoming: IncomingRequest, ticket: Ticket | None
    ) -> None:
        CAUSE.set(incoming.cause)
        try:
            incoming.respond(await self._outcome(served, incoming, ticket))
        finally:
            task = asyncio.current_task()
            if task is not None:
                self._running.pop(task, None)
            self._admission.leave(incoming.peer)
            self._idle.set()

    async def _outcome(
        self, served: ServedBy, incoming: IncomingRequest, ticket: Ticket | None
    ) -> Reply | ProductError:
        name = type(incoming.message).__name__
        try:
            await self._wait_for_core(incoming, name)
            if ticket is None:
                return await self._run_handler(served, incoming, name)
            async with ticket:
                return await self._run_handler(served, incoming, name)
        except ProductError as error:
            return error
        except OSError as error:
            # A full or failing disk is a fault of the environment, not a defect of the service.
            self.record(
                "node.disk_failed", level="error", request=name, **describe_exception(error)
            )
            return SaveFailed(f"the disk of {self.name} refused: {error.strerror or error}")
        except Exception as error:
            self.internal_errors += 1
            self.record(
                "node.internal_error", level="error", request=name, **describe_exception(error)
            )
            return Internal(f"{self.name} failed unexpectedly; its log has the traceback")

    async def _wait_for_core(self, incoming: IncomingRequest, name: str) -> None:
        """Wait until a core has worked on the request. Reads at the console take no time: the lab
        uses them to inspect the node."""
        queue = self._queue
        if queue is None or queue.idle:
            return
        if not incoming.peer.local or type(incoming.message).repeat is not Repeat.READ:
            await queue.serve(name, incoming.message, incoming.deadline)

    async def _run_handler(
        self, served: ServedBy, incoming: IncomingRequest, name: str
    ) -> Reply | ProductError:
        """Run a handler when its turn has come, unless its deadline has passed."""
        if incoming.deadline and incoming.deadline < self.ports.clock.monotonic():
            self.bus.counters["late"] += 1
            return NotConnected(f"its turn at {self.name} came after its deadline")
        reply = await getattr(self.service, served.method)(incoming.message, incoming.peer)
        if not isinstance(reply, Reply):
            raise TypeError(f"{name} was answered with a {type(reply).__name__}")
        return reply

    async def ask(self, message: Request[Any], within_s: float, user: str = "") -> Reply:
        """Ask at the local console: handled like a request from the bus, with a local peer.

        The caller is outside of this life; the handler runs inside, and ends with it. ``within_s``
        lab seconds; ``user`` as in ``Peer``. Raises the service's ``ProductError``,
        ``NotConnected`` during the orderly stop, or ``Disconnected`` when the life ends first.
        """
        if self._stop.is_set():
            raise NotConnected(f"{self.name} is going down")
        future: asyncio.Future[Reply | ProductError] = asyncio.get_running_loop().create_future()

        def respond(outcome: Reply | ProductError) -> None:
            if not future.done():
                future.set_result(outcome)

        deadline = self.ports.clock.monotonic() + self.ports.clock.limit(within_s)
        cause = f"console/{self.boot}/{type(message).__name__}"
        peer = Peer(self.name, self.boot, local=True, user=user)
        request = IncomingRequest(message, peer, deadline, cause, respond)
        self._own.copy().run(self.accept, request)
        self._console_calls[future] = None
        try:
            outcome = await future
        finally:
            del self._console_calls[future]
        if isinstance(outcome, ProductError):
            raise outcome
        return outcome

    def disconnect_console_callers(self) -> None:
        """The life has ended: callers at the console get ``Disconnected``."""
        for future in self._console_calls:
            if not future.done():
                future.set_result(Disconnected(f"{self.name} went down before it answered"))


def describe_exception(error: BaseException) -> dict[str, Any]:
    """Type, text and frames of an exception; its text is ours or a library's, never a key's."""
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    return {
        "error": type(error).__name__,
        "text": str(error)[:300],
        "at": [f"{f.filename.rsplit('/', 3)[-1]}:{f.lineno} {f.name}" for f in frames],
    }


# ---- admission of requests -----------------------------------------------------------------------
# A node works on a bounded number of requests, and each peer has a share of them. A peer that
# floods the node fills its own share and gets ``Busy``; other peers are still served. The
# administrator's console has a bound of its own, so that a flooded node can still be inspected.

AT_ONCE: Final = 512
"""Requests from the bus at a time; as many again from the console."""

SHARE: Final = AT_ONCE // 2
"""Requests of one peer at a time."""

ALWAYS: Final = 8
"""A peer with fewer requests is admitted even when others have filled the node."""


class RequestAdmission:
    """The requests that a node works on, counted by peer.

    The maximum is ``AT_ONCE``, plus ``ALWAYS`` for each further peer.
    """

    def __init__(self) -> None:
        self._of_peer: Counter[NodeName] = Counter()
        self._from_bus = 0
        self._at_console = 0

    def has_room(self, peer: Peer) -> bool:
        """Whether one more request of ``peer`` may begin."""
        if peer.local:
            return self._at_console < AT_ONCE
        mine = self._of_peer[peer.node]
        return mine < ALWAYS or (mine < SHARE and self._from_bus < AT_ONCE)

    def enter(self, peer: Peer) -> None:
        """A request of ``peer`` begins."""
        if peer.local:
            self._at_console += 1
            return
        self._from_bus += 1
        self._of_peer[peer.node] += 1

    def leave(self, peer: Peer) -> None:
        """A request of ``peer`` has ended."""
        if peer.local:
            self._at_console -= 1
            return
        self._from_bus -= 1
        self._of_peer[peer.node] -= 1
        if not self._of_peer[peer.node]:
            del self._of_peer[peer.node]
