"""Every planted bug still hits something: what it replaces is where it looks for it.

Whether a bug is noticed is the question of ``test_table`` and ``test_planted``, which are slow.
"""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path

import pytest

from services.runtime.sim.runner import run_in_worker
from tests.mutations.bugs import modules_of_bugs
from tests.mutations.bugs.planting import plant
from tests.mutations.conformance import IN_CONFORMANCE
from tests.mutations.experiments import IN_EXPERIMENTS
from tests.mutations.outside import IN_OUTSIDE
from tests.mutations.play import Outcome, collected, plant_all, server
from tests.mutations.table import (
    IN_CAMPAIGNS,
    IN_MATRIX,
    IN_RUNS,
    IN_SWEEPS,
    KILLED,
    NO_BUG,
    Killed,
)

pytestmark = pytest.mark.sim
ROOT = Path(__file__).parents[2]
GONE = "of_a_name_that_is_gone"


@pytest.mark.slow
def test_every_bug_is_planted_where_something_is() -> None:
    wanted = (*sorted(modules_of_bugs()), GONE)
    with closing(server()) as workers:
        found = run_in_worker(plant_all, wanted, server=workers)
    assert GONE in found.pop(GONE)[0], "one that is gone is told"
    missed = {name: told for name, told in found.items() if not told or "hits nothing" in told[0]}
    assert not missed


def test_a_bug_that_hits_nothing_is_no_bug() -> None:
    with pytest.raises(AttributeError, match="hits nothing"):
        plant(Outcome, "no_such_method", lambda original: original)


def test_every_bug_has_a_test_that_kills_it() -> None:
    killed = {entry.mutation for entry in KILLED}
    in_runs = IN_RUNS | IN_EXPERIMENTS | IN_SWEEPS | IN_MATRIX | IN_CAMPAIGNS
    seen = killed | in_runs | IN_CONFORMANCE | IN_OUTSIDE
    assert set(modules_of_bugs()) - NO_BUG == seen - NO_BUG


@pytest.mark.parametrize("entry", KILLED, ids=lambda entry: entry.mutation)
def test_the_test_that_shall_turn_red_is_there(entry: Killed) -> None:
    """One id that names nothing keeps pytest from running any of them."""
    assert is_there(entry.test)


@pytest.mark.slow
def test_parameters_of_named_tests_are_those_that_they_are_run_with() -> None:
    wanted = tuple(dict.fromkeys(entry.test for entry in KILLED if "[" in entry.test))
    with closing(server()) as workers:
        there = run_in_worker(
            collected, tuple({id.partition("[")[0] for id in wanted}), server=workers
        )
    assert not set(wanted) - set(there)


def test_a_test_that_is_gone_is_missed() -> None:
    assert is_there("tests/mutations/test_planting.py::test_a_test_that_is_gone_is_missed")
    assert is_there("tests/conformance/test_bus_forgery.py::test_replayed_box[sim]")
    assert not is_there("tests/mutations/test_planting.py::test_a_test_that_is_gone")
    assert not is_there("tests/mutations/test_gone.py::test_x")


def is_there(test: str) -> bool:
    """Whether the file of that id has a test of that name, defined or assigned."""
    path, _, name = test.partition("::")
    name = name.split("::")[-1].partition("[")[0]
    file = ROOT / path
    defined = re.compile(rf"^\s*(?:(?:async )?def {name}\(|{name} = )", re.M)
    return file.is_file() and bool(defined.search(file.read_text("utf-8")))
