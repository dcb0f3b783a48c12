"""Bugs that make a run depend on more than its seed, and tasks that fail unheard."""

from __future__ import annotations

import asyncio
import os
import random
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, NoReturn

import msgspec

import services.vcenter.hosts.key_delivery as delivery
from services.esxi import boot
from services.esxi.vcenter_connection import Uplink
from services.runtime.bus import BusPort
from services.runtime.node import NodeRunner
from services.vcenter.events import EventDraft
from tests.mutations.bugs.planting import replaces


def background_fails() -> None:
    """Isolation broken: a loop of the host in the background ends with an exception after a
    boot."""

    async def _fails(host: Any) -> None:
        await host.clock.sleep(5.0)
        if host.node.boot > 1:
            raise LookupError("a defect in a loop")

    @replaces(boot, "start_loops")
    def start_loops(original: Any, host: Any, *more: Any) -> None:
        original(host, *more)
        host.node.background("loop", _fails(host))


def dice_random() -> None:
    """Determinism broken: a handler takes its decision from a generator of its own, past its
    port."""

    @replaces(Uplink, "admit")
    def admit(original: Any, self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        if random.randrange(256) & 1:
            self._node.background("dice", self._clock.sleep(0.001))


def dice_time() -> None:
    """Determinism broken: a handler takes its decision from the machine's clock, past its port."""

    @replaces(Uplink, "admit")
    def admit(original: Any, self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        if time.time_ns() // 64 & 1:
            self._node.background("dice", self._clock.sleep(0.001))


def dice_urandom() -> None:
    """Determinism broken: a handler decides by the system's random bytes, past its port."""

    @replaces(Uplink, "admit")
    def admit(original: Any, self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        if os.urandom(1)[0] & 1:
            self._node.background("dice", self._clock.sleep(0.001))


def event_text_random() -> None:
    """Determinism broken: the text of an event has something in it that no seed fixes."""

    @replaces(EventDraft, "with_sequence")
    def numbered(original: Any, self: EventDraft, sequence: int, at: float) -> Any:
        event = original(self, sequence, at)
        return msgspec.structs.replace(event, text=f"{event.text} ({os.getrandom(4).hex()})")


def exception_unhandled() -> None:
    """Isolation broken: a callback fails where nobody is there to take its exception."""

    def _fails() -> NoReturn:
        raise RuntimeError("a defect in a callback")

    @replaces(boot, "start_loops")
    def start_loops(original: Any, *arguments: Any) -> None:
        original(*arguments)
        asyncio.get_running_loop().call_soon(_fails)


def finaliser_pokes() -> None:
    """Determinism broken: garbage wakes the loop up when it is collected."""

    class _Garbage:
        """Part of a cycle: only the garbage collector ends it."""

        def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
            self.itself = self
            self.loop = loop

        def __del__(self) -> None:
            self.loop.call_soon(lambda: None)

    @replaces(BusPort, "request")
    async def request(original: Any, self: BusPort, *given: Any, **options: Any) -> Any:
        _Garbage(asyncio.get_running_loop())
        return await original(self, *given, **options)


def order_by_hash() -> None:
    """Determinism broken: keys go to a host in the order of their hashes, which the process draws.

    Hashes of their texts: ``PYTHONHASHSEED`` alone decides on these, so two servers of different
    seeds have the same two orders each time. In the hash of a struct there is the address of its
    type too, which the kernel draws: two orders of that are the same now and then.
    """

    def hash_of_text(item: object) -> int:
        """Fixed by ``PYTHONHASHSEED``, and by nothing else of the process."""
        return hash(str(item))

    @replaces(delivery, "pages")
    def pages(original: Any, items: Iterable[object], **options: Any) -> Any:
        return original(sorted(items, key=hash_of_text), **options)


def reaches_outside() -> None:
    """The ports broken: a handler looks a name up in the network, and swallows the refusal."""

    @replaces(Uplink, "admit")
    def admit(original: Any, self: Any, message: Any, peer: Any) -> None:
        original(self, message, peer)
        with suppress(Exception):
            socket.socket().close()


def record_with_pid() -> None:
    """Determinism broken: a line of a node's log tells the number of this process."""

    @replaces(NodeRunner, "record")
    def record(original: Any, self: NodeRunner, kind: str, **fields: Any) -> None:
        original(self, kind, **{**fields, "pid": os.getpid()})
