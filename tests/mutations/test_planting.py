"""Every planted bug still hits something: what it replaces is where it looks for it.

Whether a bug is noticed is the question of ``test_table`` and ``test_planted``, which are slow.
"""

from __future__ import annotations

from contextlib import closing

import pytest

from services.runtime.sim.runner import run_in_worker
from tests.mutations.bugs.planting import plant
from tests.mutations.play import Outcome, plant_all, server
from tests.mutations.table import IN_RUNS, KILLED, NO_BUG, there

pytestmark = pytest.mark.sim
GONE = "of_a_name_that_is_gone"


def test_every_bug_is_planted_where_something_is() -> None:
    wanted = (*sorted(there() - {"planting"}), GONE)
    with closing(server()) as workers:
        found = run_in_worker(plant_all, wanted, server=workers)
    assert GONE in found.pop(GONE)[0], "one that is gone is told"
    missed = {name: told for name, told in found.items() if not told or "hits nothing" in told[0]}
    assert not missed


def test_a_bug_that_hits_nothing_is_no_bug() -> None:
    with pytest.raises(AttributeError, match="hits nothing"):
        plant(Outcome, "no_such_method", lambda original: original)


def test_every_bug_has_a_test_that_kills_it() -> None:
    assert there() - NO_BUG == {entry.mutation for entry in KILLED} | IN_RUNS
