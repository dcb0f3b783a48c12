"""The shipped experiments by the whole way: prepared, played, stored, replayed; in both modes.

``edge-outage-reboot`` has key persistence, ``outage-without-persistence`` has not.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.checks.result import CheckOutcome
from chaos.history import verify
from chaos.verdict import Verdict
from lab.play.own_lab import play_lab
from lab.play.play import play_sim, replay
from lab.play.prepare import begin, prepare
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker
from services.runtime.tpm.backends import missing_for_libtpms
from tests.e2e.modes import needs_tpm
from tests.mutations.play import run_experiment, run_late, server

PERSISTED, UNPERSISTED = "edge-outage-reboot", "outage-without-persistence"
BACKENDS = ["model", pytest.param("libtpms", marks=needs_tpm)]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


@pytest.fixture(scope="module")
def workers() -> Iterator[ForkServer]:
    made = server()
    yield made
    made.close()


def played(name: str, **changes: Any) -> tuple[RunFolder, Verdict]:
    prepared = prepare(name, None, changes)
    folder = begin(prepared, "sim")
    return folder, play_sim(prepared, folder)


def red(found: Verdict) -> dict[str, str]:
    return {c.name: c.text for c in found.checks if c.result is CheckOutcome.FAIL}


NOT_SEEN: dict[str, set[str]] = {
    PERSISTED: {
        "one_vcenter_per_vm",  # one vCenter leads
        "replicas_agree",  # one key server
        "alarms_have_causes",
        "done_as_asked",  # no VM of the workload's own
        "given_up_keys_gone",  # no VM is destroyed
        "lock_given_back",  # none is started elsewhere
        "lock_told",
        "no_plaintext_key",
        "nothing_left",
        "told_in_order",
    },
    UNPERSISTED: {
        "one_vcenter_per_vm",
        "replicas_agree",
        "accepted_order_kept",
        "done_as_asked",
        "given_up_keys_gone",
        "guests_read_back",
        "lock_given_back",
        "lock_told",
        "no_plaintext_key",
        "nothing_left",
        "power_as_commanded",  # no command, and a locked VM does not start at a boot
        "recovery_bound",
    },
}
"""Checks that say unknown: nothing is scanned, no store emptied; VMs without a key do not run, so
no guest answers there, and a pair of commands would stop what shall run at each moment."""


@pytest.mark.sim
@pytest.mark.parametrize(
    "tpm", ["model", pytest.param("libtpms", marks=[needs_tpm, pytest.mark.slow])]
)
@pytest.mark.parametrize("name", [PERSISTED, pytest.param(UNPERSISTED, marks=pytest.mark.slow)])
def test_it_passes_in_virtual_time_and_replays(name: str, tpm: str) -> None:
    folder, verdict = played(name, tpm=tpm)
    assert (verdict.exit_code, red(verdict), verdict.left) == (0, {}, ())
    unknown = {c.name for c in verdict.checks if c.result is CheckOutcome.UNKNOWN}
    assert unknown == NOT_SEEN[name]
    records = verify(folder.history)
    assert {r.data["id"] for r in records if r.type == "fault"} == {"wan", "dark"}
    healed = {r.data["id"] for r in records if r.type == "heal" and r.data["verified"]}
    assert healed == {"wan", "dark"}
    again, same = replay(folder.run)
    assert same.trace_hash == verdict.trace_hash
    assert again.history.read_bytes() == folder.history.read_bytes()


@pytest.mark.slow
@pytest.mark.sim
def test_vms_of_a_failed_host_run_elsewhere_without_vcenter_and_not_without_ha() -> None:
    _, verdict = played("ha-restart", tpm="model")
    assert (verdict.exit_code, red(verdict), verdict.left) == (0, {}, ())
    judged = {c.name for c in verdict.checks if c.result is CheckOutcome.PASS}
    assert {"truth_table", "one_host_per_vm", "one_effect", "guests_read_back"} <= judged
    _, without = played("ha-restart", tpm="model", ha=False)
    assert without.exit_code == 1 and set(red(without)) == {"during vm.running == 100%"}


@pytest.mark.slow
@pytest.mark.sim
def test_the_backend_of_the_tpm_changes_no_outcome() -> None:
    if missing_for_libtpms():
        pytest.skip("no real TPM")
    results = [
        [(c.name, c.result) for c in played(PERSISTED, tpm=tpm)[1].checks]
        for tpm in ("model", "libtpms")
    ]
    assert results[0] == results[1]


@pytest.mark.slow
@pytest.mark.sim
def test_the_edge_without_persistence_fails_and_names_what_did_not_hold() -> None:
    """The negative control that the file promises."""
    _, verdict = played(PERSISTED, tpm="model", key_persistence=False)
    assert (verdict.exit_code, verdict.verdict) == (1, "fail")
    assert any("vm.back_within" in name for name in red(verdict))
    assert any("vm.back_within" in reason for reason in verdict.reasons)
    needs = next(c for c in verdict.checks if c.name == "needs_no_kms")
    assert needs.result is CheckOutcome.FAIL and needs.records


@pytest.mark.slow
@pytest.mark.sim
def test_the_other_with_persistence_fails() -> None:
    _, verdict = played(UNPERSISTED, tpm="model", key_persistence=True)
    assert verdict.exit_code == 1 and any("vm.locked" in name for name in red(verdict))


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize(
    ("mutation", "told"),
    [("reaches_outside", "socket"), ("exception_unhandled", "unhandled: ")],
)
def test_a_run_that_proves_nothing_is_no_pass(
    workers: ForkServer, mutation: str, told: str
) -> None:
    """Exit 5, also when the service swallowed the refusal, and before the run has begun."""
    small = {"hosts": 2, "vms": 2}
    verdict = run_in_worker(run_late, mutation, PERSISTED, 7, small, server=workers)
    assert (verdict.exit_code, verdict.verdict) == (5, "error")
    assert all("KS-CHAOS-205" in reason for reason in verdict.reasons) and verdict.reasons
    assert told in verdict.reasons[0]
    with pytest.raises(KeysteadError) as caught:
        run_in_worker(run_experiment, mutation, PERSISTED, 7, small, server=workers)
    assert (caught.value.id, caught.value.exit_code) == ("KS-CHAOS-205", 5)
    assert told in str(caught.value)


@pytest.mark.slow
@needs_tpm
@pytest.mark.lab
async def test_the_edge_on_real_processes() -> None:
    """The same file; periods and times are divided by the pace of the lab."""
    prepared = prepare(PERSISTED, None, {"tpm": "libtpms", "hosts": 4, "vms": 6, "pace": 30})
    folder = begin(prepared, "lab")
    told: list[str] = []
    verdict = await play_lab(prepared, folder, lambda step: told.append(step.text))
    assert (verdict.exit_code, red(verdict), verdict.left) == (0, {}, ()), verdict.reasons
    assert verify(folder.history) and list((folder.path / "logs").glob("*.jsonl"))
    with pytest.raises(KeysteadError, match="ran on real processes"):
        replay(folder.run)
