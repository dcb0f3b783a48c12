"""A node's life from power-on to its end, and the guard that keeps code of an ended life from
acting.

A context variable carries the incarnation in force, so that every task created inside a node's life
belongs to it. The simulation's loop drops the steps of tasks whose incarnation has ended, and every
port call runs ``check`` before it starts and after each inner wait.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import Context, ContextVar, copy_context
from dataclasses import dataclass, field
from enum import StrEnum

from protocol.terms import NodeName


class WayDown(StrEnum):
    """How a life ends; see ``Disk`` for what survives each."""

    STOP = "stop"  # orderly: saved, synced, TPM2_Shutdown
    CRASH = "crash"  # nothing more runs; the written image survives
    POWER_LOSS = "power_loss"  # crash, and only the synced image survives


class NodeDown(BaseException):
    """The incarnation that made this call has ended. Not an ``Exception``, so that no handler
    catches it."""


@dataclass(eq=False)
class Incarnation:
    """One life of one node. ``boot`` counts from 1 and never repeats for a node."""

    node: NodeName
    boot: int
    ended: WayDown | None = field(default=None)
    _held: asyncio.Event | None = field(default=None, init=False)  # set when it resumes
    _resumed: list[Callable[[], None]] = field(default_factory=list, init=False)

    def check(self) -> None:
        """Raise ``NodeDown`` if this life has ended."""
        if self.ended is not None:
            raise NodeDown(f"{self.node} boot {self.boot}: {self.ended.value}")

    def end(self, way: WayDown) -> None:
        """End it; the first ``way`` counts."""
        if self.ended is None:
            self.ended = way

    @property
    def alive(self) -> bool:
        """Whether this life goes on."""
        return self.ended is None

    # Paused: the ports hold a node of a real process that it shares with other nodes.

    @property
    def is_paused(self) -> bool:
        """Whether it is paused."""
        return self._held is not None

    def pause(self) -> None:
        """Pause it at its ports until ``go_on``; no change when it is paused."""
        if self._held is None:
            self._held = asyncio.Event()

    def resume(self) -> None:
        """Resume it: first what waits at its ports, in order, then what sleeps."""
        held, self._held = self._held, None
        if held is not None:
            for act in self._resumed:
                act()
            held.set()

    def call_on_resume(self, act: Callable[[], None]) -> None:
        """Call ``act`` each time that it resumes."""
        self._resumed.append(act)

    async def wait_until_resumed(self) -> None:
        """Return when it is not paused."""
        while self._held is not None:
            await self._held.wait()


CURRENT: ContextVar[Incarnation | None] = ContextVar("keystead_incarnation", default=None)


def context_of(life: Incarnation | None) -> Context:
    """A copy of the current context whose tasks and callbacks belong to ``life`` (None: the
    simulation itself, which no crash and no pause affects)."""
    context = copy_context()
    context.run(CURRENT.set, life)
    return context
