"""What a check says, and what surrounds a violation: the record that shows it, those around it, and
the faults at that moment.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Final

import msgspec

from chaos.history import ActiveFaults, Record


class CheckOutcome(StrEnum):
    """The outcome of a check or hypothesis; ``unknown`` when there was nothing to judge."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """An outcome, one sentence, and the ``seq`` of the records that show it."""

    result: CheckOutcome
    text: str
    records: tuple[int, ...] = ()


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """A finding under the name of its check or hypothesis, as the verdict lists it."""

    name: str
    result: CheckOutcome
    text: str
    records: tuple[int, ...] = ()
    data: dict[str, Any] = {}


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
