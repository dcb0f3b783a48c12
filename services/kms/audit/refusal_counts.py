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
"""Refusals of one caller with a row of their own, in one window."""

WINDOW_S: Final = 60.0


class Allowance(NamedTuple):
    """What one message may write of refusals.

    ``rows``: how many have one of their own. ``due``: counts of earlier ones, to be written with
    the first.
    """

    rows: int = ROWS
    due: tuple[AuditEntry, ...] = ()


OWN_ROWS: Final = Allowance()
"""Of a caller that was not refused in this minute."""

NO_ROWS: Final = Allowance(0)


class Refusals:
    """Counts of this life; ``monotonic`` tells lab seconds. Used on the loop only."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._began: dict[str, float] = {}
        self._rows: Counter[str] = Counter()
        self._counts: dict[str, Counter[AuditEntry]] = {}

    def allowance(self, who: str) -> Allowance:
        """What the next message of ``who`` may write; give it back with ``used``."""
        rows = self._rows_left(who)
        if rows == 0:
            return NO_ROWS
        due = self._take_counts(who)
        return Allowance(rows, due) if due or rows < ROWS else OWN_ROWS

    def count_only(self, entry: AuditEntry) -> bool:
        """Count a refusal if its caller has no rows left; False when it has one for it."""
        if self._rows_left(entry.who):
            return False
        self.put_back((entry,))
        return True

    def _rows_left(self, who: str) -> int:
        """How many refusals of ``who`` have a row of their own now."""
        began = self._began.get(who)
        if began is None:
            return ROWS
        if self._monotonic() - began >= WINDOW_S:
            del self._began[who], self._rows[who]
        return max(0, ROWS - self._rows[who])

    def record_use(
        self, who: str, allowance: Allowance, rows: int, left_out: tuple[AuditEntry, ...]
    ) -> None:
        """That message has written ``rows`` refusals, and left these out."""
        if rows:
            self._began.setdefault(who, self._monotonic())
            self._rows[who] += rows
        else:
            self.put_back(allowance.due)
        self.put_back(left_out)

    def all_due(self) -> tuple[AuditEntry, ...]:
        """All counts; they are no longer kept here."""
        return tuple(entry for who in list(self._counts) for entry in self._take_counts(who))

    def put_back(self, entries: tuple[AuditEntry, ...]) -> None:
        """Count these: they have no row."""
        for entry in entries:
            kind = msgspec.structs.replace(entry, key_id="", times=1)
            self._counts.setdefault(entry.who, Counter())[kind] += entry.times

    def _take_counts(self, who: str) -> tuple[AuditEntry, ...]:
        counted = self._counts.pop(who, None)
        if counted is None:
            return ()
        return tuple(msgspec.structs.replace(e, times=times) for e, times in counted.items())
