"""The surroundings of a violation: the record that shows it, its neighbours, and the active
faults."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from chaos.active_faults import ActiveFaults
from chaos.checks.result import CheckOutcome, CheckResult
from chaos.history import Record

AROUND: Final = 10  # records before the first that shows it, and as many after it


class Scene(msgspec.Struct, frozen=True, kw_only=True):
    """``first`` is the ``seq`` of the first record that shows a violation, ``records`` are those
    around it in order, ``faults`` the summaries of the faults that were active then."""

    first: int
    records: tuple[Record, ...]
    faults: tuple[str, ...]


def scene_of(result: CheckResult, records: Sequence[Record]) -> Scene | None:
    """The first violation of a failed check. None for a check that did not fail, or that names no
    record of this history."""
    shown = [seq for seq in result.records if 1 <= seq <= len(records)]
    if result.result is not CheckOutcome.FAIL or not shown:
        return None
    first = min(shown)
    begin = max(0, first - 1 - AROUND)
    around = tuple(records[begin : first + AROUND])
    return Scene(first=first, records=around, faults=faults_at(records, first))


def faults_at(records: Sequence[Record], seq: int) -> tuple[str, ...]:
    """Summaries of the faults that had begun before record ``seq`` and had not ended, including
    those that took effect later."""
    active = ActiveFaults()
    for record in records[: seq - 1]:
        active.take(record)
    for record in records[seq:]:
        if record.type == "fault" and record.data.get("began", record.t) < records[seq - 1].t:
            active.take(record)
    return tuple(
        str(begin.data.get("summary") or f"{id}: {begin.op}") for id, begin in active.bite()
    )
