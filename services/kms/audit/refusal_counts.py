"""Refusals that the trail counts, so that a flood of them does not cost a row each.

The first refusals of a caller in a minute have rows of their own, with the ids of keys. Further
ones are counted by operation and reason, and written as one row each (``times``) with the first
refusal after that minute, or when the trail is read. A crash loses counts that were not written
yet; refusals are not promised to be durable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from services.kms.audit.audit_trail import AuditEntry

ROWS: Final = 32
"""Refusals of one caller that get their own row, in one minute."""

WINDOW_S: Final = 60.0


class Allowance(NamedTuple):
    """The refusals that one message may write.

    ``rows``: how many may have their own row. ``due``: counts of earlier ones, to be written with
    the first row.
    """

    rows: int = ROWS
    due: tuple[AuditEntry, ...] = ()


OWN_ROWS: Final = Allowance()
"""The allowance of a caller without refusals in this minute."""

NO_ROWS: Final = Allowance(0)


class Refusals:
    """The counts of this life; ``monotonic`` returns lab seconds. Used on the loop only."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began: dict[str, float] = {}
        self._rows: Counter[str] = Counter()
        self._counts: dict[str, Counter[AuditEntry]] = {}

    def allowance(self, who: str) -> Allowance:
        """The allowance for the next message of ``who``; report its use with ``record_use``."""
        rows = self._rows_left(who)
        if rows == 0:
            return NO_ROWS
        due = self._take_counts(who)
        return Allowance(rows, due) if due or rows < ROWS else OWN_ROWS

    def count_only(self, entry: AuditEntry) -> bool:
        """Count a refusal if its caller has no rows left; False when it has."""
        if self._rows_left(entry.who):
            return False
        self.put_back((entry,))
        return True

    def _rows_left(self, who: str) -> int:
        """How many refusals of ``who`` may have their own row now."""
        began = self._began.get(who)
        if began is None:
            return ROWS
        if self._monotonic() - began >= WINDOW_S:
            del self._began[who], self._rows[who]
        return max(0, ROWS - self._rows[who])

    def record_use(
        self, who: str, allowance: Allowance, rows: int, left_out: tuple[AuditEntry, ...]
    ) -> None:
        """Record that a message has written ``rows`` refusals, and only counted ``left_out``."""
        if rows:
            self._began.setdefault(who, self._monotonic())
            self._rows[who] += rows
        else:
            self.put_back(allowance.due)
        self.put_back(left_out)

    def all_due(self) -> tuple[AuditEntry, ...]:
        """Remove and return all counts."""
        return tuple(entry for who in list(self._counts) for entry in self._take_counts(who))

    def put_back(self, entries: tuple[AuditEntry, ...]) -> None:
        """Count these entries again: they were not written."""
        for entry in entries:
            kind = msgspec.structs.replace(entry, key_id="", times=1)
            self._counts.setdefault(entry.who, Counter())[kind] += entry.times

    def _take_counts(self, who: str) -> tuple[AuditEntry, ...]:
        counted = self._counts.pop(who, None)
        if counted is None:
            return ()
        return tuple(msgspec.structs.replace(e, times=times) for e, times in counted.items())
