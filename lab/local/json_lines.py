"""A lab for another program: a request on each line of standard input, an answer on each line of
standard output.

Requests, each a JSON object with one of these members:

- ``open``: ``{"mode", "seed", "topology", "options"}`` begins a lab of its own, in place of the one
  before; ``{"mode": "running", "name"}`` reaches one that ``keystead up`` has started
- ``do``: a command of ``keystead schema``; beside it ``vcenter`` and ``user``
- ``wait``: conditions of ``keystead wait``, ``within_s`` lab seconds
- ``sleep``: lab seconds
- ``trace``: the hash of all that happened in a simulated lab
- ``events``: vCenter's events above this number

Requests are done one after another. The lab ends with the input.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Annotated, Any

import msgspec

from lab.client import Lab
from lab.local.remote import Remote
from lab.schema.answers.lab import EventList
from lab.schema.commands import Command, GetStatus
from lab.schema.documents import document_of
from lab.schema.errors import KeysteadError
from lab.schema.wire import decode_command
from lab.serve.following import all_events
from lab.serve.waiting import condition, wait_for
from lab.state.state_folder import LabFolder

LOOK_EVERY_S = 0.2
"""Real seconds between two looks at a lab of real processes."""
MODES = ("sim", "lab", "running")
REQUESTS = ("open", "do", "wait", "sleep", "trace", "events")
Seconds = Annotated[float, msgspec.Meta(ge=0)]


class Opening(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which lab is wanted; ``options`` are those of ``Lab``, ``name`` is of one that runs."""

    mode: str = "sim"
    seed: int | None = None
    topology: str | dict[str, Any] = "default"
    options: dict[str, Any] = {}
    name: str = "default"

    def __post_init__(self) -> None:
        for name in sorted(self.options.keys() & {"mode", "seed", "topology"}):
            raise ValueError(f"{name} stands beside options, not among them")


class InputLine(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A line of the input; exactly one of ``REQUESTS`` is given."""

    open: Opening | None = None
    do: dict[str, Any] | None = None
    wait: tuple[str, ...] | None = None
    sleep: Seconds | None = None
    trace: bool | None = None
    events: int | None = None
    within_s: Seconds = 600.0
    vcenter: str = ""
    user: str = ""

    def __post_init__(self) -> None:
        given = [name for name in REQUESTS if getattr(self, name) is not None]
        if len(given) != 1:
            found = " and ".join(given) or "none"
            raise ValueError(f"a request has one of {', '.join(REQUESTS)}; this one has {found}")


class HeldLab:
    """The lab of this conversation, one of its own or one that runs."""

    def __init__(self) -> None:
        self._lab: Lab | Remote | None = None
        self._paced: float = 1.0
        self._stack = AsyncExitStack()

    async def answer(self, asked: InputLine) -> Any:
        """What a request comes to, as plain values. Raises ``KeysteadError``."""
        if asked.open is not None:
            return await self._open(asked.open)
        lab = self._lab
        if lab is None:
            raise KeysteadError("KS-USE-001", "no lab is open", 'begin with {"open": {}}')
        if asked.do is not None:
            command: Command[Any] = decode_command(msgspec.msgpack.encode(asked.do))
            return document_of(await lab.do(command, asked.vcenter, asked.user))
        if asked.wait is not None:
            pause, over = self._looks(asked.within_s)
            return await wait_for(lab.do, pause, [condition(text) for text in asked.wait], over)
        if asked.sleep is not None:
            return await self._sleep(asked.sleep)
        if asked.events is not None:
            return document_of(EventList(items=await all_events(lab.do, asked.events)))
        if isinstance(lab, Remote) or lab.mode != "sim":
            raise KeysteadError("KS-USE-003", "only a simulated lab has a trace")
        return await lab.trace()

    async def close(self) -> None:
        """End a lab of its own; one that runs goes on."""
        self._lab = None
        await self._stack.aclose()

    async def _open(self, wanted: Opening) -> dict[str, Any]:
        await self.close()
        if wanted.mode not in MODES:
            raise KeysteadError("KS-USE-003", f"mode {wanted.mode!r}: one of {', '.join(MODES)}")
        if wanted.mode == "running":
            remote = await self._stack.enter_async_context(Remote(LabFolder(wanted.name)))
            status = await remote.do(GetStatus())
            self._lab, self._paced = remote, status.pace
            return {"mode": wanted.mode, "lab": wanted.name, "seed": None}
        lab = Lab(
            "sim" if wanted.mode == "sim" else "lab",
            topology=wanted.topology,
            seed=wanted.seed,
            **wanted.options,
        )
        self._lab = await self._stack.enter_async_context(lab)
        self._paced = lab.topology.pace
        return {"mode": wanted.mode, "lab": lab.topology.name, "seed": lab.seed}

    async def _sleep(self, seconds: float) -> None:
        if isinstance(self._lab, Lab):
            await self._lab.sleep(seconds)
        else:
            await asyncio.sleep(seconds / self._paced)

    def _looks(self, within_s: float) -> tuple[Callable[[], Any], Callable[[], bool]]:
        if isinstance(self._lab, Lab) and self._lab.mode == "sim":
            slept = 0

            async def second() -> None:
                nonlocal slept
                slept += 1
                await self._sleep(1.0)

            return second, lambda: slept >= within_s
        until = time.monotonic() + within_s / self._paced

        async def pause() -> None:
            await asyncio.sleep(LOOK_EVERY_S)

        return pause, lambda: time.monotonic() > until


async def serve() -> None:
    """Answer standard input until it ends. Nothing but answers is written to standard output."""
    held = HeldLab()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    try:
        while line := await asyncio.to_thread(sys.stdin.buffer.readline):
            answers.write(msgspec.json.encode(await _respond(held, line)) + b"\n")
    finally:
        await held.close()


async def _respond(held: HeldLab, line: bytes) -> dict[str, Any]:
    """The answer to one line. Whatever a request comes to, the lab stays for the next one."""
    try:
        return {"answer": await held.answer(_read(line))}
    except KeysteadError as error:
        failure = error
    except Exception as error:
        traceback.print_exc()
        failure = KeysteadError("KS-INT-001", f"{type(error).__name__}: {error}")
    return {"error": {"id": failure.id, "text": str(failure), "fix": failure.fix}}


def _read(line: bytes) -> InputLine:
    """The request on a line; KS-USE-003 for what is none."""
    try:
        return msgspec.json.decode(line, type=InputLine)
    except RecursionError:
        raise KeysteadError("KS-USE-003", "the request is nested too deeply") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeysteadError("KS-USE-003", str(error)) from None
