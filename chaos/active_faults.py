"""Which faults are there at a moment of a history: the one fold of ``fault`` and ``heal`` records.

Checks, reports and campaigns follow a history with it. The oracle has a fold of its own, so that
an error in this one cannot hide itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from chaos.history import Record


def fault_id(record: Record) -> str:
    """Which fault a ``fault`` or ``heal`` record, or a note about one, is about."""
    return str(record.data.get("id", ""))


@dataclass
class ActiveFaults:
    """The faults after the records that it was given, in order.

    ``began`` has the record of the begin of each that was not seen gone, by id, those too that
    could not be made as they should. ``stays`` are the ids of those whose end was tried and that
    have no undo: they are there for good.
    """

    began: dict[str, Record] = field(default_factory=dict)
    stays: set[str] = field(default_factory=set)

    def take(self, record: Record) -> Record | None:
        """Follow one record; the begin of the fault that it ended, if it ended one."""
        id = fault_id(record)
        if record.type == "fault":
            self.began[id] = record
            self.stays.discard(id)
        elif record.type == "heal":
            if record.data.get("verified"):
                self.stays.discard(id)
                return self.began.pop(id, None)
            if record.data.get("stays") and id in self.began:
                self.stays.add(id)
        return None

    def bite(self) -> Iterator[tuple[str, Record]]:
        """Those that were seen to bite, each with its id, in the order in which they began."""
        return ((id, record) for id, record in self.began.items() if "error" not in record.data)

    def ids_to_heal(self) -> tuple[str, ...]:
        """The ids of those that have to be seen gone still."""
        return tuple(id for id in self.began if id not in self.stays)
