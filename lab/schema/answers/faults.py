"""Faults in force, and what a heal did."""

from __future__ import annotations

from typing import Any

import msgspec

from lab.schema.answers.base import Answer


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


class Fault(Answer, frozen=True, kw_only=True):
    """A fault that was begun and seen to bite."""

    fault: ActiveFault


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


class RunStopped(Answer, frozen=True, kw_only=True):
    """The run was told to end; the answer to its ``ChaosPlay`` is its verdict."""

    run: str
