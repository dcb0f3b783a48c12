"""Schedules that once showed a defect, or show a planted one: sound code passes all of them.

They run before every other test: what has broken once is the first to be asked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from chaos.verdict import Exit
from lab.fuzz.play import failures, play
from lab.fuzz.shrinking import corpus, read
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.topology.plan import Topology
from tests.corpus.ordering import first_those_of

pytestmark = pytest.mark.sim
FOLDER = Path(__file__).parent
FILES = tuple(corpus(FOLDER))


class Labs:
    """One snapshot for each lab that the files name."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._made: list[tuple[Topology, BuiltLabs]] = []

    def of(self, topology: Topology) -> BuiltLabs:
        for known, snapshot in self._made:
            if known == topology:
                return snapshot
        made = self._stack.enter_context(BuiltLabs(Origin(topology, ledger=True)))
        self._made.append((topology, made))
        return made


@pytest.fixture(scope="module")
def labs() -> Iterator[Labs]:
    with ExitStack() as stack:
        yield Labs(stack)


@pytest.mark.slow
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_it_passes(path: Path, labs: Labs) -> None:
    made = read(path)
    assert made.plan.name == path.stem, "one name for a file and what is in it"
    verdict = play(labs.of(made.topology), made.plan).verdict
    assert failures(verdict) == (), verdict.reasons
    assert verdict.exit_code == Exit.PASS, verdict.reasons


def test_there_are_files() -> None:
    assert len(FILES) >= 5


def test_they_come_first() -> None:
    order = ["tests/a.py::x", "tests/corpus/t.py::y", "tests/b.py::z", "tests/corpus/t.py::a"]
    assert first_those_of("tests/corpus/", order, str) == [order[1], order[3], order[0], order[2]]
