"""The control plane's messages: typed requests and events over the control broker.

CLI, supervisor and agents talk here, with the messages of ``protocol.messages.agent`` in the
same envelopes and over the same request multiplexer (``services.runtime.rpc``) as on the data
bus. No fault touches this broker, but a slow machine may: a lost link is dialled again, requests
wait for it, and calls in flight end in ``Disconnected``. Subjects and permissions are in
``configuration``. Times are real seconds; nothing is sealed, as no key travels here.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from lab.brokers.configuration import CONTROL_SIZE_LIMIT, may_ask
from lab.brokers.identities import CLI, SUPERVISOR, control_name
from protocol.codec import decode_envelope, decode_message
from protocol.errors import Internal, Malformed, NotAvailable, NotSent, ProductError, Refused
from protocol.messages.base import Event, Reply, Request, reply_type
from protocol.terms import NodeName
from services.runtime.incarnation import NodeDown
from services.runtime.multiplexer import (
    Envelopes,
    PendingCalls,
    PendingRequest,
    RequestServing,
    Unsealed,
)
from services.runtime.real.broker_tls import BrokerTls
from services.runtime.real.connection import BrokerConnection, ConnectionOptions

R = TypeVar("R", bound=Reply)

Handler = Callable[[Any, str], Coroutine[Any, Any, Reply]]
EventCallback = Callable[[str, Event], None]


class NoAnswer(Exception):
    """Raised by a handler: the request was meant for another one of the same name, who answers."""


# A slow machine must not look like a lost link: 30 s until one is given up.
CONTROL_OPTIONS = ConnectionOptions(
    ping_interval_s=5,
    max_outstanding_pings=6,
    connect_timeout_s=5,
    first_connect_s=10.0,
    tcp_user_timeout_s=30.0,
    unsent_limit_bytes=4 * CONTROL_SIZE_LIMIT,
)


class ControlClient:
    """Who speaks at the control broker, as ``supervisor``, ``cli``, or an agent.

    Several clients may share a name (two commands at once are both ``cli``); each hears only
    the replies to its own calls. ``secured``, and ``now`` (the supervisor's monotonic clock, which
    deadlines are of), are for another machine. ``counts`` has what ``rpc`` counts of calls and
    requests, and ``events_lost`` and ``internal_errors``.
    """

    def __init__(
        self,
        url: str,
        seed: str,
        name: str,
        *,
        options: ConnectionOptions = CONTROL_OPTIONS,
        secured: BrokerTls | None = None,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = control_name(name)
        self.counts: Counter[str] = Counter()
        self._client = os.urandom(8).hex()
        probe = f"ctl.probe.{name}.{self._client}"
        inbox = f"ctl.inbox.{name}.*.{self._client}.>"
        self._connection = BrokerConnection(
            url,
            seed,
            name=f"{name}/{self._client[:6]}",
            subjects=(inbox, probe) if name in (CLI, SUPERVISOR) else (probe,),
            probe=probe,
            options=options,
            secured=secured,
        )
        seals = Unsealed()
        envelopes = Envelopes(NodeName(name), 0, seals, size_limit=CONTROL_SIZE_LIMIT)
        self._envelopes = envelopes
        self._calls = PendingCalls(seals, self.counts)
        self._now = now
        self._serving = RequestServing(envelopes, self.counts, now, self._reply)
        self._up = asyncio.Event()
        self._event_callbacks: list[EventCallback] = []
        self._server: ControlServer | None = None

    @property
    def connected(self) -> bool:
        return self._connection.up

    @property
    def trouble(self) -> str:
        """Why there was no link the last time; empty when there was no trouble."""
        why = self._connection.refusal or self._connection.last_error
        return "" if why is None else str(why) or type(why).__name__

    @property
    def violations(self) -> int:
        """How often the broker refused this name a subject; 0 in a healthy lab."""
        return self._connection.violations

    async def open(self) -> None:
        """Connect and be ready; ``NotSent`` when no broker let us in within ten seconds."""
        await self._connection.open(self)
        self._up.set()

    async def echo(self) -> None:
        """Return when the broker has answered; ``NotSent`` when it does not within two seconds."""
        await self._connection.echo()

    async def close(self) -> None:
        """Flush what was sent and leave; calls in flight end in ``Disconnected``."""
        await self._connection.close()
        self._end()

    def abort(self) -> None:
        """Leave at once."""
        self._connection.abort()
        self._end()

    def _end(self) -> None:
        self.on_disconnected()
        self._up.set()  # who waits for the link must see that there will be none

    async def request(self, to: str, message: Request[R], *, within_s: float) -> R:
        """Ask, and wait for the reply for ``within_s`` real seconds.

        The CLI may ask the supervisor, and the supervisor an agent; nobody may ask anybody else.
        While the link is being dialled again the call waits. Raises ``NotSent`` and ``Refused``
        (nobody of that name is there), ``TimedOut`` and ``Disconnected`` (it may have
        happened), or the error the other side answered with.
        """
        name = type(message).__name__
        deadline = self._now() + within_s
        number = self._envelopes.next_number()
        reply_to = f"ctl.inbox.{self.name}.{control_name(to)}.{self._client}.{number}"
        data = self._envelopes.request(number, NodeName(to), message, deadline=deadline, cause="")
        try:
            async with asyncio.timeout(within_s):
                await self._up.wait()
        except TimeoutError:
            raise NotSent(f"no link to the control broker within {within_s:g} s") from None
        subject, loop = self._request_subject(to, name), asyncio.get_running_loop()
        return await self._calls.ask(
            reply_to,
            NodeName(to),
            number,
            message,
            lambda: self._connection.send(subject, data, reply_to),
            lambda late: loop.call_later(deadline - self._now(), late),
            within_s,
        )

    def publish(self, event: Event) -> None:
        """Tell whoever listens. Lost while the link is away (counted), never raised."""
        try:
            data = self._envelopes.event(event, cause="")
            self._connection.send(f"ctl.event.{self.name}.{type(event).__name__}", data)
        except (NotSent, Malformed):
            self.counts["events_lost"] += 1

    async def subscribe_events(self, callback: EventCallback) -> None:
        """``callback(sender, event)`` for each event, on the loop, in order per sender.

        Only the supervisor and the CLI may listen; returns when it is in force.
        """
        first = not self._event_callbacks
        self._event_callbacks.append(callback)
        if first:
            await self._connection.subscribe("ctl.event.>")

    # WireSink --------------------------------------------------------------------------------

    def on_message(self, subject: str, reply: str, payload: bytes) -> None:
        parts = subject.split(".")
        try:
            match parts:
                case ["ctl", "inbox", _, responder, _, _]:
                    self._calls.handle_reply(subject, NodeName(responder), payload)
                case ["ctl", "event", sender, name]:
                    self._on_event(sender, name, payload)
                case ["ctl", "supervisor", sender, name] | ["ctl", "agent", _, sender, name]:
                    self._on_request(sender, name, reply, payload)
                case _:
                    self.counts["malformed"] += 1
        except Malformed:
            self.counts["malformed"] += 1

    def on_no_responders(self, subject: str) -> None:
        self._calls.refuse(subject, f"{self._calls.find_callee(subject)} is not there")

    def on_disconnected(self) -> None:
        self._up.clear()
        self._calls.fail_all()

    def on_reconnected(self) -> None:
        self._up.set()

    def _on_request(self, sender: str, name: str, reply_to: str, payload: bytes) -> None:
        if self._server is None:
            self.counts["malformed"] += 1  # nothing is subscribed that would bring it
            return
        asked = self._serving.admit(sender, name, reply_to, payload)
        if asked is None:
            return
        if not may_ask(sender, self.name):
            self.counts["forged"] += 1  # the broker lets nobody come this far
            return
        if not reply_to.startswith(f"ctl.inbox.{sender}.{self.name}."):
            self.counts["forged"] += 1  # its answer would go to another
            return
        if not asked.too_late():
            self._server.accept(asked)

    def _on_event(self, sender: str, name: str, payload: bytes) -> None:
        envelope = decode_envelope(payload)
        if envelope.sender != sender or envelope.name != name:
            self.counts["forged"] += 1
            return
        event = decode_message(name, envelope.body)
        if not isinstance(event, Event):
            raise Malformed(f"{name} is no event")
        for callback in self._event_callbacks:
            callback(sender, event)

    # For the server --------------------------------------------------------------------------

    async def attach(self, server: ControlServer) -> None:
        """From here on requests to this name go to ``server``; the first call subscribes."""
        if self._server is server:
            return  # a second subscription would bring every request twice
        if self._server is not None:
            raise TypeError(f"{self.name} has a server already")
        self._server = server
        where = "ctl.supervisor.>" if self.name == SUPERVISOR else f"ctl.agent.{self.name}.>"
        await self._connection.subscribe(where)

    def _reply(self, to: NodeName, subject: str, payload: bytes) -> None:
        self._connection.send(subject, payload)

    def _request_subject(self, to: str, name: str) -> str:
        if to == SUPERVISOR:
            return f"ctl.supervisor.{self.name}.{name}"
        return f"ctl.agent.{to}.{self.name}.{name}"


class ControlServer:
    """Serves requests that come to a client's name; one task per request.

    ``await ControlServer(client).serve({PowerOn: power_on, ...})`` with
    ``async def power_on(message: PowerOn, sender: str) -> NodePowered``. Tasks begin in the
    order of arrival; what must stay in order is queued before the handler's first ``await``.
    """

    def __init__(self, client: ControlClient) -> None:
        self._client = client
        self._handlers: dict[str, Handler] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, handlers: Mapping[type[Request[Any]], Handler]) -> None:
        """Add handlers; the first call subscribes. ``TypeError`` for a second of a message."""
        for message, handler in handlers.items():
            reply_type(message)
            if message.__name__ in self._handlers:
                raise TypeError(f"{message.__name__} is served already")
            self._handlers[message.__name__] = handler
        await self._client.attach(self)

    async def close(self) -> None:
        """Cancel what is still being worked on and wait for its end."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def accept(self, asked: PendingRequest) -> None:
        """Give a request that was checked a task of its own."""
        task = asyncio.get_running_loop().create_task(self._work(asked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, asked: PendingRequest) -> None:
        with suppress(NoAnswer):
            asked.answer(await self._outcome(asked))

    async def _outcome(self, asked: PendingRequest) -> Reply | ProductError:
        name = asked.envelope.name
        try:
            return await self._handle(asked)
        except ProductError as error:
            return error
        except NodeDown as error:
            return Refused(f"the node's life ended meanwhile: {error}")
        except NoAnswer:
            raise
        except Exception as error:
            self._client.counts["internal_errors"] += 1
            self._report(name, error)
            return Internal(f"{self._client.name} failed unexpectedly; its log has the traceback")

    async def _handle(self, asked: PendingRequest) -> Reply:
        handler = self._handlers.get(asked.envelope.name)
        if handler is None:
            raise NotAvailable(f"{self._client.name} does not serve this request")
        message = asked.message()
        reply = await handler(message, asked.envelope.sender)
        expected = reply_type(type(message))
        if type(reply) is not expected:
            raise TypeError(f"{type(reply).__name__} instead of {expected.__name__}")
        return reply

    @staticmethod
    def _report(name: str, error: Exception) -> None:
        context = {"message": f"the handler of {name} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
