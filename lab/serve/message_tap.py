"""Messages that travel in a lab now: those on its bus, captured while a user watches, and requests
to key servers over KMIP, taken from the audit trails of the key servers.

Keys travel in sealed boxes. An answer has fingerprints of boxes and of binary data in place of
these.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from chaos.conversation import parse_said
from chaos.observe.audit import AuditTail, asker, came_by_kmip
from lab.core import LabCore
from lab.schema.answers import MessageKind, TravellingMessage
from protocol.messages.kms.keys import AuditRow
from protocol.terms import NodeName

KEPT: Final = 5_000
"""Messages that a tap keeps, the newest."""
KEPT_BYTES: Final = 4 << 20
OPEN_S: Final = 30.0
"""Real seconds after the last question for which the tap of a lab of real processes stays open."""
AUDIT_S: Final = 1.0
"""Seconds, at least of real time, that a key server has to answer."""
BODY_LIMIT: Final = 2_000
"""Characters of a message's fields."""


class _Captured(NamedTuple):
    number: int
    at: float
    subject: str
    payload: bytes


@dataclass
class MessageTap:
    """The newest messages of a lab. Numbers continue over the life of the tap. Requests of the
    console do not pass the bus and are not among them."""

    captured: deque[_Captured | TravellingMessage] = field(default_factory=deque)
    number: int = 0
    """Of the newest message."""
    _bytes: int = 0
    _audit: AuditTail | None = None
    _rows: int = 0
    _stack: contextlib.AsyncExitStack | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _ending: asyncio.TimerHandle | None = None

    async def listen(self, lab: LabCore) -> bool:
        """Listen from now on, for ``OPEN_S`` after the last call; a simulated lab for its whole
        life. Whether it listened already. ``NotSent`` when the broker does not answer."""

        def capture(subject: str, _reply: str, payload: bytes) -> None:
            self._capture(lab, subject, payload)

        async with self._lock:
            listened = self._stack is not None
            if not listened:
                stack = contextlib.AsyncExitStack()
                await stack.enter_async_context(lab.tap(capture))
                within_s = max(AUDIT_S, lab.in_lab_s(AUDIT_S))
                self._stack, self._audit = stack, AuditTail(lab, within_s=within_s)
            if self._audit is not None:
                await self._read_audit(lab, self._audit, known=not listened)
        if lab.mode == "lab":
            loop = asyncio.get_running_loop()
            self._end_later()
            self._ending = loop.call_later(OPEN_S, lambda: loop.create_task(self.close()))
        return listened

    def newest_first(self, after: int) -> Iterator[TravellingMessage]:
        """The messages that are kept with a number above ``after``."""
        for one in reversed(self.captured):
            if one.number <= after:
                return
            yield one if isinstance(one, TravellingMessage) else _describe(one)

    async def close(self) -> None:
        """Listen no more, and keep nothing."""
        self._end_later()
        async with self._lock:
            stack, self._stack, self._audit = self._stack, None, None
            self._rows = self._bytes = 0
            self.captured.clear()
            if stack is not None:
                await stack.aclose()

    def _end_later(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None

    def _capture(self, lab: LabCore, subject: str, payload: bytes) -> None:
        self.number += 1
        self.captured.append(_Captured(self.number, lab.monotonic(), subject, payload))
        self._bytes += len(payload)
        while len(self.captured) > KEPT or self._bytes > KEPT_BYTES:
            first = self.captured.popleft()
            self._bytes -= len(first.payload) if isinstance(first, _Captured) else 0

    async def _read_audit(self, lab: LabCore, audit: AuditTail, *, known: bool) -> None:
        """Add new KMIP requests of the audit trails; with ``known`` skip those that are there."""
        begin, end = self._rows, await audit.position()
        self._rows = end
        if known:
            return
        began = lab.wall() - lab.monotonic()
        for row, server in zip(audit.rows[begin:end], audit.of[begin:end], strict=True):
            if came_by_kmip(row):
                self.number += 1
                self.captured.append(_of_audit(self.number, row, server, began))


def _of_audit(number: int, row: AuditRow, server: NodeName, began: float) -> TravellingMessage:
    return TravellingMessage(
        number=number,
        at=round(row.at - began, 6),
        src=asker(row),
        dst=server,
        kind=MessageKind.KMIP,
        name=row.operation,
        body=f"{row.key_id} {row.result}".strip(),
    )


def _describe(one: _Captured) -> TravellingMessage:
    said = parse_said(round(one.at, 6), one.subject, one.payload)
    body = said.wrong or (msgspec.json.encode(said.body).decode() if said.body else "")
    return TravellingMessage(
        number=one.number,
        at=said.t,
        src=said.src,
        dst=said.dst,
        kind=MessageKind(said.kind),
        name=said.name,
        body=body if len(body) <= BODY_LIMIT else f"{body[:BODY_LIMIT]}…",
        boxes=said.boxes,
        cause=said.cause,
    )
