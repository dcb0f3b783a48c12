"""Faults in force, and what a heal did."""

from __future__ import annotations

from typing import Any

import msgspec

from lab.schema.answers.base import Answer
from lab.schema.tables import ColumnTable, field

_SHOWN = 8
"""Names of what was found that a table has room for."""


def list_found(value: object) -> str:
    """What was found, in one line: its names, the first of them when they are many, or numbers."""
    if isinstance(value, dict):
        return list_found([f"{name} {n}" for name, n in value.items()])
    if not isinstance(value, list | tuple):
        return str(value)
    more = len(value) - _SHOWN
    return ", ".join(map(str, value[:_SHOWN])) + (f" and {more} more" if more > 0 else "")


class ActiveFault(msgspec.Struct, frozen=True, kw_only=True):
    """A fault in force.

    ``kind`` is its name in experiment files; ``since`` and ``until`` in lab seconds since the lab
    began, ``until`` 0: no lease. ``seen`` says why it is not healed, ``cure`` what takes away
    one that has no undo; ``found`` what was seen of what it hit, that its fields do not say.
    """

    id: str
    kind: str
    summary: str
    since: float
    until: float
    state: str
    seen: str = ""
    cure: str = ""
    found: dict[str, Any] = {}

    table = ColumnTable(
        "id",
        (
            field("id"),
            field("kind"),
            field("state"),
            ("SINCE", lambda fault: f"{fault.since:.1f}s"),
            ("UNTIL", lambda fault: f"{fault.until:.1f}s" if fault.until else None),
            field("summary"),
            field("cure"),
        ),
        wide=(field("seen"),),
        rare=(
            (
                "FOUND",
                lambda fault: "; ".join(f"{k}: {list_found(v)}" for k, v in fault.found.items()),
            ),
        ),
    )


class Fault(Answer, frozen=True, kw_only=True):
    """A fault that was begun and seen to bite."""

    fault: ActiveFault

    def remarks(self) -> tuple[str, ...]:
        found = self.fault.found.items()
        told = [f"{name.replace('_', ' ')}: {list_found(value)}" for name, value in found]
        if self.fault.cure:
            told.append(f"it has no undo; its cure: {self.fault.cure}")
        return tuple(told)


class FaultList(Answer, frozen=True, kw_only=True):
    """Faults in force, oldest first."""

    items: tuple[ActiveFault, ...]


class FaultLeft(msgspec.Struct, frozen=True, kw_only=True):
    """A fault that a heal left; one that is ``reversible`` is a failure of the heal."""

    id: str
    kind: str
    reversible: bool
    seen: str = ""
    cure: str = ""


class HealReport(Answer, frozen=True, kw_only=True):
    """Ids of the faults that were seen gone, in order, and those that are still listed.

    ``with_cure``: those that have no undo were to be cured.
    """

    healed: tuple[str, ...] = ()
    left: tuple[FaultLeft, ...] = ()
    with_cure: bool = False

    @property
    def stuck(self) -> tuple[FaultLeft, ...]:
        """Those that were to be taken back, or cured, and were not seen gone."""
        return tuple(fault for fault in self.left if fault.reversible or self.with_cure)

    def errors(self, of_lab: str) -> tuple[str, ...]:
        told = []
        for fault in self.left:
            if fault in self.stuck:
                told.append(f"keystead: error KS-CHAOS-103: {fault.id}: {fault.seen}")
            if not fault.reversible:
                told.append(f"{fault.id}: cure: {fault.cure}")
        if self.left and not self.stuck:
            told.append("`keystead heal --all --with-cure` performs the cures")
        return tuple(told)

    @property
    def exit_code(self) -> int:
        return 1 if self.stuck else 0


class RunStopped(Answer, frozen=True, kw_only=True):
    """The run was told to end; the answer to its ``ChaosPlay`` is its verdict."""

    run: str
