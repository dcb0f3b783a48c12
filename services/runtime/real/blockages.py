"""Counts blocked event loops, which ``services.runtime.real.watchdog`` detects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec

from protocol.messages.agent import NodeList

STOOD: Final = "loop_stood"
STOOD_MS: Final = "loop_stood_ms"
"""Counters of the first node of a process: how often its loop was blocked, and the longest time."""


class Blockage(NamedTuple):
    """One blockage. ``seconds``: how long the loop was blocked; so far, when it is not ``over``.
    ``where``: the innermost functions that blocked it, empty when they were not captured."""

    seconds: float
    where: str
    over: bool


@dataclass
class BlockageCounts:
    """How often a loop was blocked for over a second, and the longest time."""

    count: int = 0
    longest_s: float = 0.0
    where: str = ""
    """Where the loop was blocked the longest, when that is known."""

    def add(self, stand: Blockage) -> None:
        """Count a blockage that is over."""
        if stand.over:
            self.count += 1
            if stand.seconds > self.longest_s:
                self.longest_s, self.where = stand.seconds, stand.where

    def add_counts(self, reply: NodeList) -> NodeList:
        """Add these counts to the first node in a process's list of nodes."""
        if not self.count or not reply.nodes:
            return reply
        first, *others = reply.nodes
        counts = {STOOD: self.count, STOOD_MS: round(1000 * self.longest_s)}
        first = msgspec.structs.replace(first, counters={**first.counters, **counts})
        return NodeList(nodes=(first, *others))
