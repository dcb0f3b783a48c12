"""What a service is: a class with marked handlers, given ports and a node, nothing else.

A handler is an async method marked with the message it serves::

    @serves(CreateKey)
    async def create_key(self, message: CreateKey, peer: Peer) -> KeyCreated: ...

``turn`` names the queue whose order of *acceptance* the handler must keep: tickets are given
out synchronously, in the order in which the bus accepts messages; a lock taken inside the
handler would be too late. A handler whose change is made, and that only waits until it is
durable, lets the next one begin (``ServiceNode.end_turn``).
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import msgspec

from protocol.messages.agent import Firmware
from protocol.messages.base import Reply, Request, messages_of, reply_type
from protocol.terms import NodeName, Role
from services.runtime.knobs import Knobs
from services.runtime.ports import Ports

R = TypeVar("R", bound=Reply)
Q = TypeVar("Q", bound=Request[Any])
S = TypeVar("S", bound="Service")

Handler = Callable[[Any, Any, "Peer"], Coroutine[Any, Any, Reply]]
TurnKey = Callable[[Any], str | None]


class Peer(msgspec.Struct, frozen=True):
    """The sender of a request: node and boot, as the bus verified them.

    ``local``: a user at the node's own console (host console, vSphere client, key server operator),
    without link or session. ``user`` names the user; empty: the node's administrator.
    """

    node: NodeName
    boot: int
    local: bool = False
    user: str = ""


class Halted(Exception):
    """Raised by ``start``: the node stops here, shows ``screen``, and serves nothing."""

    def __init__(self, screen: str) -> None:
        super().__init__(screen)
        self.screen = screen


@dataclass(frozen=True)
class PowerInputs:
    """The machine's input at power-on: firmware set-up and options typed at the loader."""

    firmware: Firmware = field(default_factory=Firmware)
    boot_options: Mapping[str, str] = field(default_factory=dict)


class ServiceNode(Protocol):
    """What a service sees of the node that drives it.

    Each service narrows it to a node with knobs of its own (``VcenterNode``, ``EsxiNode``).
    """

    @property
    def name(self) -> NodeName:
        """The name of the node, which the broker has proved."""
        ...

    @property
    def boot(self) -> int:
        """The number of this life; each life of a node has a higher one."""
        ...

    @property
    def site(self) -> str:
        """The site of the node."""
        ...

    @property
    def knobs(self) -> Knobs:
        """The knobs of the service, checked against their ranges."""
        ...

    @property
    def power(self) -> PowerInputs:
        """The machine's input at this power-on."""
        ...

    def background(self, label: str, work: Coroutine[Any, Any, None]) -> None:
        """Run ``work`` in the node's task group for the rest of this life.

        An exception that leaves it ends the incarnation as a crash.
        """
        ...

    def turn(self, key: str) -> AbstractAsyncContextManager[None]:
        """A ticket in the queue ``key``, issued now; ``async with`` waits until it is first."""
        ...

    def end_turn(self) -> None:
        """In a handler: end its turn here, before its answer; no change if it has none.

        The next one of its queue begins, so the rest of this handler has no order.
        """
        ...

    def record(self, kind: str, *, level: str = "info", **fields: Any) -> None:
        """One line for log and history. Plain values only; never key material."""
        ...


class Service:
    """Base of every service. ``start`` returns when the node may serve requests.

    Crash-only: ``start`` is also the recovery. ``stop`` is the orderly end; what was promised must
    be durable without it, because a crash does not call it.
    """

    role: ClassVar[Role]
    handlers: ClassVar[dict[str, ServedBy]] = {}

    def __init__(self, node: ServiceNode, ports: Ports) -> None:
        self.node = node
        self.bus = ports.bus
        self.clock = ports.clock
        self.rng = ports.rng
        self.disk = ports.disk
        self.tpm = ports.tpm
        self.streams = ports.streams

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.handlers = _collect(cls)

    async def start(self) -> None:
        """Recover from disk and become ready; raises ``Halted`` for a purple screen."""

    async def stop(self) -> None:
        """Orderly end: save, while the ports still work."""

    def accept(self, message: Request[Any], peer: Peer) -> None:
        """Called synchronously for each request in order of arrival, before its ticket.

        Raises a ``ProductError`` to refuse it (old session, no permission).
        """


@dataclass(frozen=True)
class ServedBy:
    """One entry of a service's table: the method's name and its queue, if it has one."""

    method: str
    turn: TurnKey | None


def serves(
    message: type[Q], *, turn: TurnKey | None = None
) -> Callable[[Callable[[S, Q, Peer], Coroutine[Any, Any, R]]], Callable[..., Any]]:
    """Mark a method as the handler of ``message``."""

    def mark(
        method: Callable[[S, Q, Peer], Coroutine[Any, Any, R]],
    ) -> Callable[[S, Q, Peer], Coroutine[Any, Any, R]]:
        marks = [*getattr(method, "__serves__", ()), (message, turn)]
        method.__serves__ = marks  # type: ignore[attr-defined]
        return method

    return mark


def _collect(cls: type[Service]) -> dict[str, ServedBy]:
    """All marked methods of ``cls`` (mixins too); ``TypeError`` for two handlers of a message."""
    found: dict[str, ServedBy] = {}
    for name in dir(cls):
        for message, turn in getattr(getattr(cls, name, None), "__serves__", ()):
            if message.__name__ in found:
                other = found[message.__name__].method
                raise TypeError(
                    f"{cls.__name__}: {message.__name__} is served by {other} and {name}"
                )
            reply_type(message)
            found[message.__name__] = ServedBy(name, turn)
    return found


def list_unserved_requests(
    services: Mapping[str, type[Service]], modules: Mapping[str, str]
) -> list[str]:
    """Requests without a handler, given role -> service and role -> its message module."""
    return [
        f"{role}: {name}"
        for role, module in modules.items()
        for name, message in messages_of(module).items()
        if issubclass(message, Request)
        and name != "Command"
        and name not in services[role].handlers
    ]
