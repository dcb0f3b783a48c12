"""What key servers were asked for, found by key and by who has asked: after a storm that all hosts
have recovered from, each of them is counted among the rows of all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from chaos.observe.audit import asker
from protocol.messages.kms import AuditRow

GET: Final = "Get"


class Calls:
    """Places of rows that only grow in number: those that gave a key, and those of each asker."""

    def __init__(self) -> None:
        self._given: dict[str, list[int]] = {}
        self._asked: dict[str, list[int]] = {}
        self._read = 0

    def count(
        self, rows: Sequence[AuditRow], who: str, keys: Iterable[str], begin: int, end: int
    ) -> int:
        """Of ``rows`` from ``begin`` on and before ``end``: so many gave one of ``keys``, or were
        of what ``who`` asked."""
        for place, row in enumerate(islice(rows, self._read, None), self._read):
            self._asked.setdefault(asker(row), []).append(place)
            if row.operation == GET:
                self._given.setdefault(row.key_id, []).append(place)
        self._read = len(rows)
        found = {place for key in keys for place in _between(self._given.get(key), begin, end)}
        return len(found.union(_between(self._asked.get(who), begin, end)))


def _between(places: Sequence[int] | None, begin: int, end: int) -> Sequence[int]:
    if places is None:
        return ()
    return places[bisect_left(places, begin) : bisect_left(places, end)]
