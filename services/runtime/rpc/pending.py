"""Calls in flight: each waits for one reply, from one node, until its deadline."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from protocol.codec import decode_as, decode_reply
from protocol.errors import (
    Disconnected,
    Internal,
    Malformed,
    ProductError,
    Refused,
    TimedOut,
    from_body,
)
from protocol.messages.base import Reply, Request, reply_type
from protocol.terms import NodeName
from services.runtime.rpc.envelopes import Seals

R = TypeVar("R")

Alarm = Callable[[Callable[[], None]], asyncio.TimerHandle]
"""Schedules a callback for the deadline of a call."""


@dataclass(slots=True)
class _Call:
    to: NodeName
    number: int
    answer: type[Reply]
    future: asyncio.Future[Reply]


class PendingCalls:
    """The calls of one connection, by token: the last part of a reply's subject.

    Counts ``unexpected_replies`` (nobody waits for them any more), ``forged`` (from another node
    than was asked, or to another request) and ``malformed`` (not a reply of the right kind).
    """

    def __init__(self, seals: Seals, counters: Counter[str]) -> None:
        self._seals, self._counters = seals, counters
        self._calls: dict[str, _Call] = {}

    async def ask(
        self,
        token: str,
        to: NodeName,
        number: int,
        message: Request[R],
        send: Callable[[], None],
        alarm: Alarm,
        within_s: float,
    ) -> R:
        """``send`` the request, then wait for the reply to ``token`` until ``alarm`` rings.

        ``within_s`` is the time of the alarm, for the text of ``TimedOut``. Raises what ``send``
        raises, ``TimedOut``, ``Disconnected`` or ``Refused`` (see ``fail_all``, ``refuse``), and
        the error of the other side.
        """
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._calls[token] = _Call(to, number, reply_type(type(message)), future)
        ringing: asyncio.TimerHandle | None = None

        def too_late() -> None:
            if not future.done():
                future.set_exception(TimedOut(f"{to} did not answer within {within_s:g} s"))

        try:
            send()
            ringing = alarm(too_late)
            return cast(R, await future)
        finally:
            if ringing is not None:
                ringing.cancel()
            del self._calls[token]
            if future.done() and not future.cancelled():
                future.exception()  # seen, even if the caller was cancelled meanwhile

    def handle_reply(self, token: str, responder: NodeName, payload: bytes) -> bool:
        """A reply to ``token`` arrived in the name of ``responder``; True if it ended its call.

        Raises ``Malformed`` for bytes that are not a reply; the call continues to wait.
        """
        call = self._calls.get(token)
        if call is None or call.future.done():
            self._counters["unexpected_replies"] += 1
            return False
        if call.to != responder:
            self._counters["forged"] += 1
            return False
        reply = decode_reply(payload)
        if reply.sender != responder or reply.message_id != call.number:
            self._counters["forged"] += 1
            return False
        if reply.error is not None:
            call.future.set_exception(from_body(reply.error))
        elif reply.name != call.answer.__name__:
            call.future.set_exception(
                Internal(f"the answer of {responder} does not fit the request")
            )
        else:
            try:
                answer = decode_as(call.answer, reply.body)
                call.future.set_result(self._seals.unseal_keys(reply, answer))
            except Malformed as error:
                self._counters["malformed"] += 1
                call.future.set_exception(Internal(str(error)))
        return True

    def find_callee(self, token: str) -> NodeName | None:
        """The node that is to answer the call ``token``; None when no call waits."""
        call = self._calls.get(token)
        return None if call is None or call.future.done() else call.to

    def refuse(self, token: str, why: str) -> None:
        """Nobody serves the call's target: it ends in ``Refused``, it certainly did not run."""
        call = self._calls.get(token)
        if call is not None and not call.future.done():
            call.future.set_exception(Refused(why))

    def fail_all(self) -> None:
        """The connection is lost: every call ends in ``Disconnected``, it may have run."""
        for call in self._calls.values():
            if not call.future.done():
                self._counters["calls_cut"] += 1
                error: ProductError = Disconnected(
                    f"the broker link was lost with a call to {call.to} in flight"
                )
                call.future.set_exception(error)
