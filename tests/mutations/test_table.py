"""Breaking the code on purpose turns a named test of the suite red, for the right reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker
from services.runtime.tpm.backends import missing_for_libtpms
from tests.mutations.play import Outcome, run_tests, server
from tests.mutations.table import KILLED, Killed

# The first of a worker's tests also waits for all that are named here, on the code as it is.
pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def workers() -> Iterator[ForkServer]:
    made = server()
    yield made
    made.close()


@pytest.fixture(scope="module")
def healthy(workers: ForkServer) -> dict[str, list[Outcome]]:
    """Every named test on the code as it is, in one worker: outcomes by node id without
    parameters cut off."""
    tests = tuple(dict.fromkeys(entry.test for entry in KILLED))
    outcomes = run_in_worker(run_tests, "", tests, server=workers)
    return {
        test: [o for o in outcomes if o.test == test or o.test.startswith(f"{test}[")]
        for test in tests
    }


@pytest.mark.parametrize("entry", KILLED, ids=lambda entry: entry.mutation)
def test_the_bug_turns_its_test_red(
    entry: Killed, workers: ForkServer, healthy: dict[str, list[Outcome]]
) -> None:
    before = healthy[entry.test]
    assert before and all(o.passed for o in before), before
    red = run_in_worker(run_tests, entry.mutation, (entry.test,), server=workers)
    assert red, f"{entry.test} did not run"
    # In the test itself: a bug that breaks the import or the set-up has shown nothing.
    found = [o for o in red if not o.passed and o.when == "call"]
    assert found, f"{entry.mutation} survives {entry.test}"
    assert any(entry.told in o.told for o in found), found[0].told


@pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}")
def test_a_real_tpm_is_mutated_too(healthy: dict[str, list[Outcome]]) -> None:
    """The test that kills ``unseal_ignores_pcrs`` runs on libtpms as well."""
    test = next(e.test for e in KILLED if e.mutation == "unseal_ignores_pcrs")
    assert {o.test.rsplit("[", 1)[1] for o in healthy[test]} == {"model]", "libtpms]"}
