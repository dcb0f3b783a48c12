"""The control plane's messages: typed requests and events over the control broker.

CLI, supervisor and agents talk here, with the messages of ``protocol.messages.agent`` in the
same envelopes as on the data bus. No fault touches this broker, but a slow machine may: a lost
link is dialled again, requests wait for it, and calls in flight end in ``Disconnected``.
Subjects and permissions are in ``broker_config``. Times are real seconds.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

import msgspec

from lab.brokers.configuration import CONTROL_SIZE_LIMIT
from lab.brokers.identities import SUPERVISOR, control_name
from protocol.codec import (
    decode_as,
    decode_envelope,
    decode_message,
    decode_reply,
    encode_envelope,
    encode_message,
)
from protocol.envelope import VERSION, Envelope, ReplyEnvelope
from protocol.errors import (
    Disconnected,
    Internal,
    Malformed,
    NotAvailable,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
    from_body,
)
from protocol.messages.base import Event, Message, Reply, Request, reply_type
from protocol.terms import NodeName
from services.runtime.incarnation import NodeDown
from services.runtime.real.connection import BrokerConnection, LinkOptions

R = TypeVar("R", bound=Reply)

Handler = Callable[[Any, str], Coroutine[Any, Any, Reply]]
EventCallback = Callable[[str, Event], None]

# A slow machine must not look like a lost link: 30 s until one is given up.
CONTROL_LINK = LinkOptions(
    ping_interval=5,
    max_outstanding_pings=6,
    connect_timeout=5,
    first_connect=10.0,
    tcp_user_timeout=30.0,
    unsent_limit=4 * CONTROL_SIZE_LIMIT,
)


class ControlClient:
    """A name's door to the control broker: ``supervisor``, ``cli`` or ``agent-<n>``.

    Several clients may share a name (two commands at once are both ``cli``); each hears only
    the replies to its own calls. ``counts`` has ``forged``, ``malformed``, ``late``,
    ``events_lost``, ``replies_lost`` and ``internal_errors``.
    """

    def __init__(
        self, url: str, seed: str, name: str, *, options: LinkOptions = CONTROL_LINK
    ) -> None:
        self.name = control_name(name)
        self.counts: Counter[str] = Counter()
        self._client = os.urandom(8).hex()
        probe = f"ctl.probe.{name}.{self._client}"
        self._connection = BrokerConnection(
            url,
            seed,
            name=f"{name}/{self._client[:6]}",
            subjects=(f"ctl.inbox.{name}.*.{self._client}.>", probe),
            probe=probe,
            options=options,
        )
        self._number = 0
        self._pending: dict[str, tuple[str, asyncio.Future[ReplyEnvelope]]] = {}
        self._up = asyncio.Event()
        self._event_callbacks: list[EventCallback] = []
        self._server: ControlServer | None = None

    @property
    def connected(self) -> bool:
        return self._connection.up

    @property
    def violations(self) -> int:
        """How often the broker refused this name a subject; 0 in a healthy lab."""
        return self._connection.violations

    async def open(self) -> None:
        """Connect and be ready; ``NotSent`` when no broker let us in within ten seconds."""
        await self._connection.open(self)
        self._up.set()

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

    async def request(self, to: str, message: Request[R], *, within: float) -> R:
        """Ask the supervisor or an agent; wait for the reply for ``within`` real seconds.

        While the link is being dialled again the call waits. Raises ``NotSent`` and ``Refused``
        (nobody of that name is there), ``TimedOut`` and ``Disconnected`` (it may have
        happened), or the error the other side answered with.
        """
        name = type(message).__name__
        deadline = time.monotonic() + within
        self._number += 1
        reply_to = f"ctl.inbox.{self.name}.{control_name(to)}.{self._client}.{self._number}"
        envelope = self._envelope(message, deadline)
        data = encode_envelope(envelope, CONTROL_SIZE_LIMIT)
        try:
            async with asyncio.timeout(within):
                await self._up.wait()
        except TimeoutError:
            raise NotSent(f"no link to the control broker within {within:g} s") from None
        future: asyncio.Future[ReplyEnvelope] = asyncio.get_running_loop().create_future()
        self._pending[reply_to] = (to, future)
        try:
            self._connection.send(self._request_subject(to, name), data, reply_to)
            async with asyncio.timeout_at(
                asyncio.get_running_loop().time() + deadline - time.monotonic()
            ):
                reply = await future
        except TimeoutError:
            raise TimedOut(f"{to} did not answer {name} within {within:g} s") from None
        finally:
            del self._pending[reply_to]
        if reply.error is not None:
            raise from_body(reply.error)
        answer: R = decode_as(reply_type(type(message)), reply.body)  # type: ignore[assignment]
        return answer

    def publish(self, event: Event) -> None:
        """Tell whoever listens. Lost while the link is away (counted), never raised."""
        try:
            data = encode_envelope(self._envelope(event, 0.0), CONTROL_SIZE_LIMIT)
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
                    self._on_reply(subject, responder, payload)
                case ["ctl", "event", sender, name]:
                    self._on_event(sender, name, payload)
                case ["ctl", "supervisor", sender, name] if self._server is not None:
                    self._server.accept(sender, name, reply, payload)
                case ["ctl", "agent", _, sender, name] if self._server is not None:
                    self._server.accept(sender, name, reply, payload)
                case _:
                    self.counts["malformed"] += 1
        except Malformed:
            self.counts["malformed"] += 1

    def on_no_responders(self, subject: str) -> None:
        waiting = self._pending.get(subject)
        if waiting is not None and not waiting[1].done():
            waiting[1].set_exception(Refused(f"{waiting[0]} is not there"))

    def on_disconnected(self) -> None:
        self._up.clear()
        for to, future in list(self._pending.values()):
            if not future.done():
                future.set_exception(Disconnected(f"the link was lost with a call to {to}"))

    def on_reconnected(self) -> None:
        self._up.set()

    def _on_reply(self, subject: str, responder: str, payload: bytes) -> None:
        waiting = self._pending.get(subject)
        if waiting is None:
            self.counts["late"] += 1
            return
        reply = decode_reply(payload)
        if reply.sender != responder:
            self.counts["forged"] += 1
        elif not waiting[1].done():
            waiting[1].set_result(reply)

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

    def answer(self, reply_to: str, reply: ReplyEnvelope) -> None:
        """Send a reply, or an error in its place when it is too large; lost without a link."""
        try:
            data = encode_envelope(reply, CONTROL_SIZE_LIMIT)
        except Malformed as error:
            small = msgspec.structs.replace(reply, body=msgspec.Raw(b"\xc0"), error=error.body())
            data = encode_envelope(small, CONTROL_SIZE_LIMIT)
        try:
            self._connection.send(reply_to, data)
        except NotSent:
            self.counts["replies_lost"] += 1

    def _envelope(self, message: Message, deadline: float) -> Envelope:
        self._number += 1
        return Envelope(
            version=VERSION,
            message_id=self._number,
            cause="",
            sender=NodeName(self.name),
            boot=0,
            deadline=deadline,
            name=type(message).__name__,
            body=encode_message(message),
        )

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

    def accept(self, sender: str, name: str, reply_to: str, payload: bytes) -> None:
        """Check one request, then give it a task. ``Malformed`` for bytes that are none."""
        client = self._client
        envelope = decode_envelope(payload)
        honest = reply_to.startswith(f"ctl.inbox.{sender}.{client.name}.")
        if envelope.sender != sender or envelope.name != name or not honest:
            client.counts["forged"] += 1
            return
        if time.monotonic() > envelope.deadline:
            client.counts["late"] += 1
            return
        task = asyncio.get_running_loop().create_task(self._work(sender, reply_to, envelope))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, sender: str, reply_to: str, envelope: Envelope) -> None:
        name, body = "", msgspec.Raw(b"\xc0")  # nil: an error has no body
        problem: ProductError | None = None
        try:
            reply = await self._handle(sender, envelope)
            name, body = type(reply).__name__, encode_message(reply)
        except ProductError as error:
            problem = error
        except NodeDown as error:
            problem = Refused(f"the node's life ended meanwhile: {error}")
        except Exception as error:
            self._client.counts["internal_errors"] += 1
            self._report(envelope.name, error)
            problem = Internal(f"{type(error).__name__} in the handler of {envelope.name}")
        self._client.answer(
            reply_to,
            ReplyEnvelope(
                version=VERSION,
                message_id=envelope.message_id,
                sender=NodeName(self._client.name),
                boot=0,
                name=name,
                body=body,
                error=problem.body() if problem is not None else None,
            ),
        )

    async def _handle(self, sender: str, envelope: Envelope) -> Reply:
        handler = self._handlers.get(envelope.name)
        if handler is None:
            raise NotAvailable(f"{self._client.name} does not serve {envelope.name}")
        message = decode_message(envelope.name, envelope.body)
        reply = await handler(message, sender)
        expected = reply_type(type(message))  # type: ignore[arg-type]
        if type(reply) is not expected:
            raise TypeError(f"{type(reply).__name__} instead of {expected.__name__}")
        return reply

    @staticmethod
    def _report(name: str, error: Exception) -> None:
        context = {"message": f"the handler of {name} failed", "exception": error}
        asyncio.get_running_loop().call_exception_handler(context)
