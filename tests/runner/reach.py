"""The map of which test uses which function and file; what ``./keystead test --changed`` rests on.

``./keystead test --map`` makes it: every test notes what it and the processes that it starts call
and open (``tests.reached.site.tracing``). It lies in pytest's cache, not in git: it is of this
checkout. A change is compared with the tree as it was then, function by function.

What a process or a fixture does that several tests share is counted for all tests of that module;
what lasts longer, for all tests. A test that failed while the map was made is not in it, so that it
runs again. Where it cannot be known which tests use what has changed, all run.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Set
from pathlib import Path

import msgspec

from tests.reached.site.tracing import ALWAYS, ANY_FOLDER, BY
from tests.runner.sources import (
    Change,
    Tree,
    concerns_all,
    difference,
    folders_of,
    importers,
    module_name,
    tree_of,
)
from tests.runner.units import module_of

NAME = "reach.map"


class Stored(msgspec.Struct):
    """``reach``: places in ``tests`` by key, each as the distance from the one before it."""

    tree: Tree
    tests: list[str]
    reach: dict[str, list[int]]
    lasting: dict[str, list[str]]
    always: list[str]


class Reach:
    """A map while it is made, or as it was read.

    ``lasting``: by key, the modules that use it for all who use them. ``always``: keys that every
    test may use.
    """

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.tests: set[str] = set()
        self.lasting: dict[str, set[str]] = defaultdict(set)
        self.always: set[str] = set()
        self._reaching: dict[str, set[str]] = defaultdict(set)
        self._of_modules: dict[str, set[str]] = {}

    def note(self, test: str, keys: Iterable[str]) -> None:
        """The test used all of these."""
        self.tests.add(test)
        for key in self._without_lasting(keys):
            self._reaching[key].add(test)

    def note_collection(self, module: str, keys: Iterable[str]) -> None:
        """Collecting the tests of this module used all of these; of no module when it is empty."""
        used = self._without_lasting(keys)
        if module:
            self._of_modules[module] = used
        else:  # pytest itself lists the folders of tests
            self.always |= {key for key in used if not key.startswith("list ")}

    def _without_lasting(self, keys: Iterable[str]) -> set[str]:
        left = set()
        for key in keys:
            if key.startswith(BY):
                module, _, used = key.removeprefix(BY).partition(" ")
                self.lasting[used].add(module)
            elif key.startswith(ALWAYS):
                self.always.add(key.removeprefix(ALWAYS))
            else:
                left.add(key)
        return left

    def reaching(self, key: str) -> set[str]:
        """Tests that used it."""
        return self._reaching.get(key, set())

    def used_of(self, paths: Set[str]) -> set[str]:
        """Tests that called any function of these files."""
        found: set[str] = set()
        for key, tests in self._reaching.items():
            if key.partition("::")[0] in paths:
                found |= tests
        return found

    def finish(self, shared: Set[str], failed: Set[str]) -> None:
        """``shared``: modules of which each test counts as using what any of them used."""
        by_module: dict[str, set[str]] = defaultdict(set)
        for test in self.tests:
            by_module[module_of(test)].add(test)
        for tests in self._reaching.values():
            for module in {module_of(test) for test in tests} & shared:
                tests |= by_module[module]
        for module, keys in self._of_modules.items():
            for key in keys:
                self._reaching[key] |= by_module[module]
        self.tests -= failed
        for tests in self._reaching.values():
            tests -= failed

    def write(self, path: Path) -> None:
        order = sorted(self.tests)
        place = {test: number for number, test in enumerate(order)}
        reach = {
            key: _steps(sorted(place[t] for t in all_)) for key, all_ in self._reaching.items()
        }
        lasting = {key: sorted(modules) for key, modules in self.lasting.items()}
        stored = Stored(self.tree, order, reach, lasting, sorted(self.always))
        data = msgspec.msgpack.encode(stored)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(zlib.compress(data, 6))


def read(path: Path) -> Reach | None:
    """None when there is none, or it is of another version."""
    try:
        stored = msgspec.msgpack.decode(zlib.decompress(path.read_bytes()), type=Stored)
    except (OSError, zlib.error, msgspec.DecodeError):
        return None
    made = Reach(stored.tree)
    made.tests, made.always = set(stored.tests), set(stored.always)
    made.lasting.update({key: set(modules) for key, modules in stored.lasting.items()})
    for key, steps in stored.reach.items():
        last = 0
        for step in steps:
            last += step
            made._reaching[key].add(stored.tests[last])
    return made


def new() -> Reach:
    """An empty map of the tree as it is now."""
    return Reach(tree_of({}))


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
    keys = _keys_of(change)
    modules = change.modules.union(*(reach.lasting.get(key, ()) for key in keys))
    modules |= importers((reach.tree, now), modules)
    keys |= {f"import {module_name(path)}" for path in modules}
    wanted = reach.used_of(modules).union(*map(reach.reaching, keys))
    why = _why_all(reach, change)
    return Selection(change, known, known if why else frozenset(wanted), why)


def _keys_of(change: Change) -> set[str]:
    """What tests note that use something that has changed."""
    keys = {*change.functions, *(f"file {path}" for path in change.paths)}
    for path in change.came_or_went:
        keys |= {f"list {folder}" for folder in folders_of(path)} | {ANY_FOLDER}
    return keys


def _why_all(reach: Reach, change: Change) -> str:
    """Why all tests must run; empty when those suffice that are known to use what has changed."""
    for path in sorted(change.paths):
        if concerns_all(path):
            return f"{path} has changed"
    for key in sorted(_keys_of(change) & reach.always):
        return f"{key} has changed, which is used for more than one test"
    for path in sorted(path for path in change.paths if not path.endswith(".py")):
        seen = {f"file {path}"}
        if path in change.came_or_went:
            seen |= {f"list {folder}" for folder in folders_of(path)[:1]}
        if not any(reach.reaching(key) or key in reach.lasting for key in seen):
            return f"it is not known which tests use {path}"
    return ""
