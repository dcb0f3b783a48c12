"""Judges are lied to about each of their clauses: the list is read from their code.

A group is some judges and the tests that lie to them. What no test can make come out both ways is
in ``EXCUSED``, with the reason; an entry that is not needed is an error too.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker
from tests.breakage.clauses import unseen
from tests.mutations.play import server

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.sim


@dataclass(frozen=True)
class Group:
    """``judges`` and ``tests`` are patterns of paths."""

    name: str
    judges: tuple[str, ...]
    tests: tuple[str, ...]


GROUPS = (
    Group(
        "checks",
        ("chaos/checks/*.py",),
        (
            "tests/chaos/test_check*.py",
            "tests/chaos/test_lock_told.py",
            "tests/chaos/test_told_in_order.py",
            "tests/chaos/test_power_as_commanded.py",
            "tests/chaos/test_scene.py",
            "tests/chaos/oracle/test_recovery.py",
            "tests/chaos/oracle/test_looks.py",
            "tests/chaos/oracle/test_truth_table_check.py",
        ),
    ),
    Group(
        "letters",
        (
            "chaos/matrix/judging/letters.py",
            "chaos/matrix/judging/event_order.py",
            "chaos/matrix/compare.py",
        ),
        ("tests/chaos/matrix/test_*.py",),
    ),
    Group(
        "verdicts",
        ("chaos/verdict.py",),
        (
            "tests/chaos/test_exit_codes.py",
            "tests/chaos/test_limits.py",
            "tests/chaos/test_verdicts.py",
        ),
    ),
)
EXCUSED = {
    "chaos/matrix/judging/letters.py: _judge_locked: seen.vcenter is None: never true": (
        "a vCenter that is up and shows nothing shows no lock, which was asked before"
    ),
    "chaos/checks/states.py: _operation: name in fold.vms: never false": (
        "the fold knows each VM that an operation powers on"
    ),
    "chaos/checks/recovery_bound.py: _Run._state: self.runs(record.node): never false": (
        "a VM that runs nowhere is excused by the oracle wherever it is listed"
    ),
    "chaos/checks/recovery_bound.py: recovery_bound: run.end is None: never true": (
        "without a look no record is followed, and nothing is healed"
    ),
}


def paths(patterns: tuple[str, ...]) -> list[str]:
    return [
        path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in sorted(ROOT.glob(pattern))
        if path.name != "__init__.py"
    ]


@pytest.fixture(scope="module")
def workers() -> Iterator[ForkServer]:
    with closing(server()) as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group.name)
def test_each_clause_of_a_judge_is_lied_to(workers: ForkServer, group: Group) -> None:
    judges = paths(group.judges)
    found = run_in_worker(unseen, judges, paths(group.tests), server=workers)
    excused = {text for text in EXCUSED if text.partition(":")[0] in judges}
    assert set(found) - excused == set()
    assert excused - set(found) == set(), "these are excused, and need not be"


def _of_a_judge(tests: str) -> list[str]:
    return unseen(["chaos/verdict.py"], [tests])


@pytest.mark.slow
def test_a_judge_without_a_lying_case_is_found_by_its_clause(workers: ForkServer) -> None:
    """With one test of many most clauses come out one way only."""
    some = "tests/chaos/test_exit_codes.py"
    found = run_in_worker(_of_a_judge, some, server=workers)
    assert found and all(text.startswith("chaos/verdict.py: ") for text in found)
    assert all(text.rpartition(": ")[2].startswith("never ") for text in found)


def test_every_check_is_in_a_group() -> None:
    listed = {path for group in GROUPS for path in paths(group.judges)}
    assert listed >= set(paths(("chaos/checks/*.py", "chaos/verdict.py")))
