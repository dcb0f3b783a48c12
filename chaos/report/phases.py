"""Where a moment of a run lies: before its faults, under them, while it heals, or after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from chaos.history import Record
from chaos.report.bands import bands


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
