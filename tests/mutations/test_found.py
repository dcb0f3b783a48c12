"""What a campaign has found and made small still shows the bug, by the check that is meant to.

That the same files pass on sound code is the corpus' own test.
"""

from __future__ import annotations

import pytest

from chaos.checks.result import CheckOutcome
from lab.fuzz.files import corpus, read
from lab.fuzz.play import play
from lab.simulation.snapshot import Origin, Snapshot
from tests.mutations.found import CORPUS, FOUND, MOST_FAULTS, Found

pytestmark = pytest.mark.sim


@pytest.mark.slow
@pytest.mark.parametrize("entry", FOUND, ids=lambda entry: entry.bug)
def test_the_named_check_fails_and_tells(entry: Found) -> None:
    made = read(entry.path)
    origin = Origin(made.topology, patch=f"tests.mutations.bugs.{entry.bug}", ledger=True)
    with Snapshot(origin) as snapshot:
        verdict = play(snapshot, made.plan).verdict
    failed = {c.name: c.text for c in verdict.checks if c.result is CheckOutcome.FAIL}
    assert entry.check in failed, failed or verdict.reasons
    assert entry.tells in failed[entry.check]


@pytest.mark.parametrize("entry", FOUND, ids=lambda entry: entry.bug)
def test_it_is_small_and_in_the_corpus(entry: Found) -> None:
    assert entry.path in corpus(CORPUS)
    assert len(read(entry.path).plan.faults) <= MOST_FAULTS
