"""What a campaign has found and made small still shows the bug, by the check that is meant to.

That the same files pass on sound code is the corpus' own test. The seeds are those of the runs as
they are drawn now: whoever changes how they are drawn looks for them anew.
"""

from __future__ import annotations

import re

import pytest

from chaos.checks.result import CheckOutcome
from chaos.experiment.random_runs import random_plan
from chaos.verdict import Verdict
from lab.fuzz.play import play
from lab.fuzz.shrinking import corpus, read
from lab.simulation.snapshot import BuiltLabs, Origin
from tests.mutations.found import CORPUS, FOUND, MOST_FAULTS, MOST_RUNS, MOST_SEEDS, Found

pytestmark = [pytest.mark.sim, pytest.mark.timeout(300)]
BY_SEED = [entry for entry in FOUND if entry.seed is not None]


def told(verdict: Verdict) -> dict[str, str]:
    """What each check that failed says, and each error of the harness, by its id."""
    failed = {c.name: c.text for c in verdict.checks if c.result is CheckOutcome.FAIL}
    return {reason.partition(":")[0]: reason for reason in verdict.reasons} | failed


@pytest.mark.slow
@pytest.mark.parametrize("entry", FOUND, ids=lambda entry: entry.bug)
def test_the_named_check_fails_and_tells(entry: Found) -> None:
    made = read(entry.path)
    with BuiltLabs(Origin(made.topology, patch=entry.patch, ledger=True)) as snapshot:
        verdict = play(snapshot, made.plan).verdict
    failed = told(verdict)
    assert entry.check in failed, failed
    assert entry.tells in failed[entry.check]


@pytest.mark.slow
@pytest.mark.parametrize("entry", BY_SEED, ids=lambda entry: entry.bug)
def test_its_seed_finds_it(entry: Found) -> None:
    world = entry.planted
    plan = random_plan(world.directory(), entry.seed or 0, world.mix, topology=world.use)
    with BuiltLabs(world.origin(ledger=True)) as snapshot:
        assert entry.check in told(play(snapshot, plan).verdict)


@pytest.mark.parametrize("entry", FOUND, ids=lambda entry: entry.bug)
def test_it_is_small_and_in_the_corpus(entry: Found) -> None:
    assert entry.path in corpus(CORPUS)
    assert len(read(entry.path).plan.faults) <= MOST_FAULTS
    if entry.seed is None:
        return
    assert entry.seed < MOST_SEEDS
    head = re.search(r"found by seed [0-9]+ and shrunk in ([0-9]+) runs", entry.path.read_text())
    assert head is not None and int(head[1]) <= MOST_RUNS
