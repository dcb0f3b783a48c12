"""Requests to key servers, indexed by key and by client. After a storm each of thousands of hosts
is counted among the rows of all."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Final

from chaos.observe.audit import asker
from protocol.messages.kms import AuditRow

GET: Final = "Get"


class Calls:
    """Indexes of rows, in ascending order: those that returned a key, and those of each client."""

    def __init__(self) -> None:
        self._given: dict[str, list[int]] = {}
        self._asked: dict[str, list[int]] = {}
        self._read = 0

    def count(
        self, rows: Sequence[AuditRow], who: str, keys: Iterable[str], begin: int, end: int
    ) -> int:
        """How many of ``rows[begin:end]`` returned one of ``keys`` or were requested by ``who``."""
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
