"""Names kept in order while they are added and removed, so that no list is sorted for one page."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

N = TypeVar("N", bound=Any)
G = TypeVar("G", bound=Hashable)
M = TypeVar("M", bound=str)
R = TypeVar("R")


class Sorted(Generic[N]):
    """Different names (or ids) in ascending order. Adding and removing costs a search and a move of
    the names above, some microseconds among ten thousand."""

    def __init__(self) -> None:
        self._names: list[N] = []

    def __len__(self) -> int:
        return len(self._names)

    def __iter__(self) -> Iterator[N]:
        return iter(self._names)

    def __contains__(self, name: object) -> bool:
        place = bisect_left(self._names, name)
        return place < len(self._names) and bool(self._names[place] == name)

    def put(self, name: N, *, present: bool) -> None:
        """Add or remove the name."""
        place = bisect_left(self._names, name)
        there = place < len(self._names) and self._names[place] == name
        if present and not there:
            self._names.insert(place, name)
        elif there and not present:
            del self._names[place]

    def after(self, cursor: N | None) -> RowsFrom[N]:
        """The names above the cursor; all without one."""
        return RowsFrom(self._names, 0 if cursor is None else bisect_right(self._names, cursor))


class RowsFrom(Generic[N]):
    """A list from a position on. Nothing is copied: read it before the next wait."""

    def __init__(self, names: Sequence[N], start: int) -> None:
        self._names, self._start = names, start

    def __len__(self) -> int:
        return len(self._names) - self._start

    def __iter__(self) -> Iterator[N]:
        return islice(self._names, self._start, None)


class OrderedGroups(Generic[G, M, R]):
    """Names of rows by group, in each group in the order of the table.

    ``of``: the groups of a row; it must depend on nothing but the row. A row's place is a number,
    its rank in the order of the table.
    """

    def __init__(self, of: Callable[[R], Collection[G]]) -> None:
        self._of = of
        self._members: dict[G, list[tuple[int, M]]] = {}

    def apply_change(self, place: int, name: M, before: R | None, after: R | None) -> None:
        """The row at this place was ``before`` and is ``after``; None: it did not, or does not,
        exist."""
        left = () if before is None else self._of(before)
        joined = () if after is None else self._of(after)
        if left == joined:
            return
        member, were, are = (place, name), dict.fromkeys(left), dict.fromkeys(joined)
        for group in were:
            if group not in are:
                members = self._members[group]
                del members[bisect_left(members, member)]
                if not members:
                    del self._members[group]
        for group in are:
            if group not in were:
                insort(self._members.setdefault(group, []), member)

    def names(self, group: G) -> list[M]:
        """The names in that group."""
        return [name for _, name in self._members.get(group, ())]

    def count(self, group: G) -> int:
        """How many names are in that group."""
        return len(self._members.get(group, ()))
