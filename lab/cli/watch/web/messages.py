"""The pane of what travels: messages as the lab answers ``get messages``, and calls of clients that
the API server beside the page has answered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from chaos.report.filling import fill_part
from lab.cli.watch.web.parts import TEMPLATE, describe_error
from lab.cli.watch.web.updates import Looker
from lab.schema.answers.messages import MessageKind
from lab.schema.commands import GetClock, GetMessages, GetStatus
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import ServedCall

API: Final = "soap"
"""The kind of calls of the vSphere APIs, in SOAP and in JSON."""


class TapFilter(msgspec.Struct, frozen=True):
    """What is shown, and up to where it was. ``kind``: one of ``MessageKind``, ``soap``, or all."""

    node: str = ""
    kind: str = ""
    after: int = 0
    """The number of the last message."""
    calls_after: int = 0


class CallRow(msgspec.Struct, frozen=True):
    """A call, as a message is drawn."""

    at: float
    src: str
    dst: str
    name: str
    body: str
    kind: str = API
    boxes: tuple[str, ...] = ()
    cause: str = ""


def read_choice(query: Mapping[str, str], last_id: str) -> TapFilter:
    """The choice of an address, going on behind ``last_id`` of a stream that was lost; KS-USE-003
    for what is none."""
    kind = query.get("kind", "")
    if kind not in ("", API, *MessageKind):
        raise KeysteadError("KS-USE-003", f"kind {kind}: one of {', '.join((*MessageKind, API))}")
    after, _, calls_after = (last_id or "0.0").partition(".")
    if not all(one.isascii() and one.isdigit() and len(one) < 18 for one in (after, calls_after)):
        raise KeysteadError("KS-USE-003", f"Last-Event-ID {last_id}: two numbers are wanted")
    return TapFilter(query.get("node", ""), kind, int(after), int(calls_after))


async def travelling(
    looker: Looker, choice: TapFilter, calls: Sequence[ServedCall]
) -> AsyncIterator[bytes]:
    """Rows of the pane as server-sent events, without end; what is wrong is one too."""
    while True:
        try:
            rows, last = await _read(looker, choice, calls)
        except KeysteadError as error:
            yield _event({"error": describe_error(error)}, choice)
        else:
            news = {"html": fill_part(TEMPLATE, "messages", rows[::-1]), "last": last.after}
            yield b": nothing new\n\n" if last == choice else _event(news, last)
            choice = last
        await asyncio.sleep(looker.every_s)


def _event(news: dict[str, Any], at: TapFilter) -> bytes:
    data = msgspec.json.encode(news)
    return b"id: %d.%d\ndata: %s\n\n" % (at.after, at.calls_after, data)


async def _read(
    looker: Looker, choice: TapFilter, calls: Sequence[ServedCall]
) -> tuple[list[Any], TapFilter]:
    """Rows since ``choice``, oldest first, and up to where they go."""
    lab, rows, last = looker.lab, [], choice
    if choice.kind != API:
        kind = MessageKind(choice.kind) if choice.kind else None
        found: Any = await lab.do(GetMessages(choice.node, kind, choice.after))
        rows += found.items
        last = msgspec.structs.replace(last, after=found.last)
    new = [call for call in tuple(calls) if call.number > choice.calls_after]
    if new and choice.kind in ("", API):
        began = (await lab.look(GetClock())).time - (await lab.do(GetStatus())).lab_time
        shown = [call for call in new if choice.node in ("", call.user, call.server)]
        rows += [_row(call, began) for call in shown]
        last = msgspec.structs.replace(last, calls_after=new[-1].number)
    return sorted(rows, key=lambda row: row.at), last


def _row(call: ServedCall, began: float) -> CallRow:
    body = f"{call.object} {call.fault or 'ok'}"
    return CallRow(call.at - began, call.user, call.server, call.method, body)
