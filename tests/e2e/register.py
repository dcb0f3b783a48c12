"""Judging what several guests did at once with one object: is there an order of it (a register)?

Each value is written once, so an order is found without a search (Gibbons and Korach, 1997): the
write of a value and its reads are a *zone* from the first end among them to the last begin. Where
the first end is earlier, the register holds the value all that time (forward); else some moment
between is enough (backward). There is an order exactly if no read ends before its write begins, no
two forward zones meet, and no backward zone lies within a forward one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Act:
    """A write of, or a read that gave, ``value``; ``end``: infinite for a write of which nobody
    knows whether it was kept."""

    value: bytes
    begin: float
    end: float
    is_write: bool


@dataclass(frozen=True)
class _Zone:
    value: bytes
    first_end: float
    last_begin: float

    @property
    def forward(self) -> bool:
        return self.first_end < self.last_begin


def fault_of(acts: Iterable[Act]) -> str:
    """Why there is no order; empty when there is one. Every value is written at most once."""
    of: dict[bytes, list[Act]] = {}
    for act in acts:
        of.setdefault(act.value, []).append(act)
    zones = []
    for value, same in of.items():
        write = next((act for act in same if act.is_write), None)
        reads = [act for act in same if not act.is_write]
        if write is None:
            return f"{value!r} was read, and never written"
        if any(read.end < write.begin for read in reads):
            return f"{value!r} was read before it was written"
        if reads or write.end < math.inf:
            first_end = min(act.end for act in same)
            zones.append(_Zone(value, first_end, max(act.begin for act in same)))
    return _clash(zones)


def _clash(zones: list[_Zone]) -> str:
    """Two values of which each was in the register while only the other one can have been."""
    forward = sorted((z for z in zones if z.forward), key=lambda z: z.first_end)
    for one, other in itertools.pairwise(forward):
        if other.first_end < one.last_begin:
            return f"{one.value!r} and {other.value!r} took turns"
    for zone in zones:
        for whole in () if zone.forward else forward:
            if whole.first_end < zone.last_begin and zone.first_end < whole.last_begin:
                return f"{zone.value!r} was there while {whole.value!r} was"
    return ""
