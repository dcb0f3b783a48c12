"""What is handed to a worker at once: tests that share a fixture of their module or the name of a
worker, or a handful."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import pytest

CHUNK_S = 4.0
"""Tests of one module without shared fixtures are handed out in parts of about this length."""
UNKNOWN_S = 0.05
"""Assumed for a test that was never measured."""
_SHARED = frozenset({"class", "module", "package"})


class Kind(Enum):
    """What tests of a unit do most of their time."""

    COMPUTE = "compute"
    WAIT = "wait"


@dataclass
class Unit:
    """Tests for one worker, by their place in the list of collected tests; ``seconds`` expected."""

    kind: Kind
    module: str
    items: list[int] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, index: int, seconds: float) -> None:
        self.items.append(index)
        self.seconds += seconds


def units_of(items: Sequence[pytest.Item], expected: Callable[[str], float | None]) -> list[Unit]:
    """All ``items`` in units, in their order; ``expected`` gives the seconds of a test id."""
    open_: dict[tuple[str, Kind, bool, str], Unit] = {}
    made: list[Unit] = []
    for index, item in enumerate(items):
        seconds = expected(item.nodeid)
        seconds = UNKNOWN_S if seconds is None else seconds
        name = worker_name(item)
        shares = bool(name) or shares_fixtures(item)
        key = "" if name else module_of(item.nodeid), kind_of(item), shares, name
        unit = open_.get(key)
        if unit is None or (not shares and unit.seconds + seconds > CHUNK_S):
            unit = open_[key] = Unit(kind_of(item), module_of(item.nodeid))
            made.append(unit)
        unit.add(index, seconds)
    return made


def longest_first(units: Iterable[Unit]) -> list[Unit]:
    """Those of the corpus, which have found a defect once, before all others."""
    return sorted(units, key=lambda u: (not u.module.startswith("tests/corpus/"), -u.seconds))


def module_of(nodeid: str) -> str:
    return nodeid.partition("::")[0]


def kind_of(item: pytest.Item) -> Kind:
    """Tests marked ``lab`` start real processes and wait for them."""
    return Kind.COMPUTE if item.get_closest_marker("lab") is None else Kind.WAIT


def worker_name(item: pytest.Item) -> str:
    """The name in ``one_worker(name)``; empty without such a mark."""
    mark = item.get_closest_marker("one_worker")
    return "" if mark is None else str(mark.args[0])


def shares_fixtures(item: pytest.Item) -> bool:
    """Whether a fixture of this tree lives longer than the test, and is shared with others."""
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return False
    return any(
        definition.scope in _SHARED and definition.baseid
        for definitions in info.name2fixturedefs.values()
        for definition in definitions
    )


def forecast(units: Sequence[Unit], workers: dict[Kind, int]) -> float:
    """Seconds until all are done, if each takes as long as expected; see ``Pool`` for the order."""
    queues = {kind: [u.seconds for u in longest_first(units) if u.kind is kind] for kind in Kind}
    ends = [(0.0, kind) for kind, count in workers.items() for _ in range(count)]
    last = 0.0
    while ends:
        ends.sort(key=lambda end: end[0])
        at, kind = ends.pop(0)
        queue = queues[kind] or (queues[Kind.WAIT] if kind is Kind.COMPUTE else [])
        if queue:
            ends.append((at + queue.pop(0), kind))
        last = max(last, at)
    return last
