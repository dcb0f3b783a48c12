"""The map of which test uses which function and file; what ``./keystead test --changed`` rests on.

``./keystead test --map`` makes it: every test notes what it and the processes that it starts call
and open (``tests.reached.site.tracing``). It lies in pytest's cache, not in git: it is of this
checkout. A change is compared with the tree as it was then, function by function.

What a process does that several tests share is counted for all tests of that module.
"""

from __future__ import annotations

import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tests.runner.sources import EVERYTHING, Change, Tree, difference, importers, tree_of
from tests.runner.units import module_of

NAME = "reach.map"


class Stored(msgspec.Struct):
    """``reach``: places in ``tests`` by key, each as the distance from the one before it."""

    tree: Tree
    tests: list[str]
    reach: dict[str, list[int]]
    made: float


class Reach:
    """A map while it is made, or as it was read."""

    def __init__(self, tree: Tree, made: float) -> None:
        self.tree, self.made = tree, made
        self.tests: set[str] = set()
        self._reaching: dict[str, set[str]] = defaultdict(set)

    def note(self, test: str, keys: Iterable[str]) -> None:
        """The test used all of these."""
        self.tests.add(test)
        for key in keys:
            self._reaching[key].add(test)

    def reaching(self, key: str) -> set[str]:
        """Tests that used it."""
        return self._reaching.get(key, set())

    def used_of(self, path: str) -> set[str]:
        """Tests that called any function of this file."""
        prefix = f"{path}::"
        return {
            test for key, all_ in self._reaching.items() if key.startswith(prefix) for test in all_
        }

    def share(self, modules: Iterable[str]) -> None:
        """In these modules each test counts as using what any of them used."""
        shared = set(modules)
        by_module: dict[str, set[str]] = defaultdict(set)
        for test in self.tests:
            if module_of(test) in shared:
                by_module[module_of(test)].add(test)
        for tests in self._reaching.values():
            for module in {module_of(test) for test in tests} & shared:
                tests |= by_module[module]

    def write(self, path: Path) -> None:
        order = sorted(self.tests)
        place = {test: number for number, test in enumerate(order)}
        reach = {
            key: _steps(sorted(place[t] for t in all_)) for key, all_ in self._reaching.items()
        }
        data = msgspec.msgpack.encode(Stored(self.tree, order, reach, self.made))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zlib.compress(data, 6))


def read(path: Path) -> Reach | None:
    """None when there is none, or it is of another version."""
    try:
        stored = msgspec.msgpack.decode(zlib.decompress(path.read_bytes()), type=Stored)
    except (OSError, zlib.error, msgspec.DecodeError):
        return None
    made = Reach(stored.tree, stored.made)
    made.tests = set(stored.tests)
    for key, steps in stored.reach.items():
        last = 0
        for step in steps:
            last += step
            made._reaching[key].add(stored.tests[last])
    return made


def new() -> Reach:
    """An empty map of the tree as it is now."""
    return Reach(tree_of({}), time.time())


def _steps(places: list[int]) -> list[int]:
    return [place - before for before, place in zip([0, *places], places, strict=False)]


class Selection(msgspec.Struct, frozen=True):
    """What to run after a change: ``tests`` of the map, and all that the map does not know."""

    change: Change
    known: frozenset[str]
    tests: frozenset[str]
    everything: str = ""
    """Why all are needed; empty when they are not."""

    def wants(self, test: str) -> bool:
        return bool(self.everything) or test in self.tests or test not in self.known


def selection(reach: Reach, tree: Callable[[Tree], Tree] = tree_of) -> Selection:
    """Tests that use something that has changed since the map was made."""
    now = tree(reach.tree)
    change = difference(reach.tree, now)
    known = frozenset(reach.tests)
    for path in sorted(change.paths):
        if path.startswith(EVERYTHING):
            return Selection(change, known, known, f"{path} has changed")
    wanted: set[str] = set()
    for key in change.functions:
        wanted |= reach.reaching(key)
    for path in change.modules | importers(now, change.modules):
        wanted |= reach.used_of(path)
    for path in change.paths:
        wanted |= reach.reaching(f"file {path}")
    for path in change.came_or_went:
        wanted |= reach.reaching(f"list {path.rpartition('/')[0]}")
    return Selection(change, known, frozenset(wanted))
