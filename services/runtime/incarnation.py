"""A node's life from power-on to its end; the guard that no dead code does anything.

The incarnation in force is carried in a context variable, so every task made inside a node's
life belongs to it: the simulation's loop drops the steps of tasks whose incarnation is over,
and every port call asks ``check`` before it starts and after each inner wait.
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
    """The incarnation that made this call is over. Not an Exception: no handler may eat it."""


@dataclass(eq=False)
class Incarnation:
    """One life of one node. ``boot`` counts from 1 and never repeats for a node."""

    node: NodeName
    boot: int
    ended: WayDown | None = field(default=None)
    _held: asyncio.Event | None = field(default=None, init=False)  # set when it goes on
    _resumed: list[Callable[[], None]] = field(default_factory=list, init=False)

    def check(self) -> None:
        """Raise ``NodeDown`` if this life is over."""
        if self.ended is not None:
            raise NodeDown(f"{self.node} boot {self.boot}: {self.ended.value}")

    def end(self, way: WayDown) -> None:
        """End it; the first way wins."""
        if self.ended is None:
            self.ended = way

    @property
    def alive(self) -> bool:
        """Whether this life goes on."""
        return self.ended is None

    # Standing still: the ports hold a node of a real process that other nodes share.

    @property
    def held(self) -> bool:
        """Whether it stands still."""
        return self._held is not None

    def hold(self) -> None:
        """Let it stand still at its ports until ``go_on``; again is no change."""
        if self._held is None:
            self._held = asyncio.Event()

    def go_on(self) -> None:
        """Let it go on: first what waits at its ports in order, then what sleeps."""
        held, self._held = self._held, None
        if held is not None:
            for act in self._resumed:
                act()
            held.set()

    def when_it_goes_on(self, act: Callable[[], None]) -> None:
        """Call ``act`` each time that it goes on."""
        self._resumed.append(act)

    async def unheld(self) -> None:
        """Return when it does not stand still."""
        while self._held is not None:
            await self._held.wait()


CURRENT: ContextVar[Incarnation | None] = ContextVar("keystead_incarnation", default=None)


def context_of(life: Incarnation | None) -> Context:
    """A copy of the current context whose tasks and callbacks belong to ``life`` (None: the
    world itself, which no crash and no pause touches)."""
    context = copy_context()
    context.run(CURRENT.set, life)
    return context
