"""The faults of a history as intervals of time, and where a moment of a run lies: before its
faults, under them, while it heals, or after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from chaos.history import ActiveFaults, Record, fault_id


@dataclass(frozen=True, kw_only=True)
class Band:
    """A fault from when it was done to when it was seen gone (None: it was not), in seconds of the
    run; ``bit`` is when it was seen to bite.

    ``error`` is why it could not be made; ``nodes`` are those it touches; ``seq`` and ``heal`` are
    the records of its begin and of its end (0: there is none). ``sides`` are those of a fault that
    lies on links, else empty.
    """

    id: str
    kind: str
    summary: str
    began: float
    bit: float
    ended: float | None = None
    error: str = ""
    nodes: tuple[str, ...] = ()
    sides: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())
    seq: int
    heal: int = 0

    @property
    def label(self) -> str:
        """Its summary, with its id before it unless the summary begins with that word."""
        said = self.summary or self.kind
        return said if f"{said} ".startswith(f"{self.id} ") else f"{self.id}: {said}"

    def covers(self, t: float) -> bool:
        """Whether it was there at ``t``."""
        return not self.error and self.began <= t and (self.ended is None or t < self.ended)


def bands(records: Sequence[Record]) -> tuple[Band, ...]:
    """The faults of a history in the order in which they began."""
    found: dict[str, Band] = {}
    active = ActiveFaults()
    for record in records:
        id, ended = fault_id(record), active.take(record)
        if record.type == "fault":
            found[id] = Band(
                id=id,
                kind=record.op,
                summary=str(record.data.get("summary", "")),
                began=float(record.data.get("began", record.t)),
                bit=record.t,
                error=str(record.data.get("error", "")),
                nodes=tuple(map(str, record.data.get("nodes", ()))),
                sides=_sides(record.data.get("values", {})),
                seq=record.seq,
            )
        elif ended is not None:
            found[id] = replace(found[id], ended=record.t, heal=record.seq)
    return tuple(sorted(found.values(), key=lambda band: band.began))


def _sides(values: dict[str, Any]) -> tuple[frozenset[str], frozenset[str]]:
    return frozenset(values.get("a", ())), frozenset(values.get("b", ()))


def rows(spans: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """A row for each span (begin, end), so that no two in a row overlap: the first row that has
    room, in the order given."""
    free: list[float] = []  # from when on each row has room
    chosen = []
    for begin, end in spans:
        row = next((n for n, since in enumerate(free) if since <= begin), len(free))
        free[row : row + 1] = [end]
        chosen.append(row)
    return tuple(chosen)


class RunPhase(StrEnum):
    """``fault``: from when the first fault was being made until the last one was seen
    gone, gaps between them too; ``heal``: from then on until the last thing that was still
    otherwise had come right."""

    BEFORE = "before"
    FAULT = "fault"
    HEAL = "heal"
    AFTER = "after"


@dataclass(frozen=True)
class RunPhases:
    """Seconds of the run at which ``fault``, ``heal`` and ``after`` begin; infinite for one that
    never came."""

    fault: float
    heal: float
    after: float

    def of(self, t: float) -> RunPhase:
        """The phase of a moment."""
        if t < self.fault:
            return RunPhase.BEFORE
        if t < self.heal:
            return RunPhase.FAULT
        return RunPhase.HEAL if t < self.after else RunPhase.AFTER


NEVER = float("inf")


def phases(records: Sequence[Record]) -> RunPhases:
    """The phases of a history.

    Healing is over with the last node that came up again, host whose VMs ran again, or hypothesis
    that held after it had not; at once when there was none of these.
    """
    found = [band for band in bands(records) if not band.error]
    if not found:
        return RunPhases(NEVER, NEVER, NEVER)
    ids = {band.id for band in found}
    made = (r.t for r in records if r.type == "note" and r.op == "inject" and r.data["id"] in ids)
    begin = min((*made, *(band.began for band in found)))
    if any(band.ended is None for band in found):
        return RunPhases(begin, NEVER, NEVER)
    healed = max(band.ended for band in found if band.ended is not None)
    return RunPhases(begin, healed, _end_of_recovery(records, healed))


def _end_of_recovery(records: Sequence[Record], healed: float) -> float:
    last = healed
    wrong: set[tuple[str, str]] = set()
    for record in records:
        if record.t < healed:
            continue
        probe = (record.op, str(record.data.get("when", "")))
        if record.type == "state" and record.op in ("node", "recovery"):
            last = record.t
        elif record.type == "probe" and not record.data.get("holds"):
            wrong.add(probe)
        elif record.type == "probe" and probe in wrong:
            wrong.discard(probe)
            last = record.t
    return NEVER if wrong else last
