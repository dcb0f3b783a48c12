"""A node's life from power-on to its end; the guard that no dead code does anything.

The incarnation in force is carried in a context variable, so every task made inside a node's
life belongs to it: the simulation's loop drops the steps of tasks whose incarnation is over,
and every port call asks ``check`` before it starts and after each inner wait.
"""

from __future__ import annotations

from contextvars import ContextVar
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


CURRENT: ContextVar[Incarnation | None] = ContextVar("keystead_incarnation", default=None)
