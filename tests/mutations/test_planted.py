"""The planted bugs of the first promise, seen by whole runs: experiments, replay, the story.

Each is shown twice: the healthy code passes, and the same check on the same run turns red with
the records that say why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest

from chaos.checks.result import CheckOutcome
from chaos.verdict import Verdict
from lab.client import Lab
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker
from tests.e2e.modes import needs_tpm
from tests.mutations.outage import outage
from tests.mutations.play import run_experiment, run_life, server

PERSISTED, UNPERSISTED = "edge-outage-reboot", "outage-without-persistence"
ROLLING, TRUSTED = "rolling-reboot-kms-flaps", "trusted-outage-reboot"
SMALL = {"hosts": 2, "vms": 4}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def workers() -> Iterator[ForkServer]:
    made = server()
    yield made
    made.close()


def verdict(
    workers: ForkServer, mutation: str, experiment: str, changes: dict[str, Any]
) -> Verdict:
    """The experiment on a small lab, of the sort its own file asks for."""
    persistent = {"key_persistence": experiment == PERSISTED}
    wanted = {**SMALL, **persistent, **changes}
    return run_in_worker(run_experiment, mutation, experiment, 7, wanted, server=workers)


def red(found: Verdict) -> dict[str, str]:
    return {c.name: c.text for c in found.checks if c.result is CheckOutcome.FAIL}


@pytest.mark.sim
@pytest.mark.parametrize(
    ("mutation", "experiment", "check", "told"),
    [
        ("persistence_unsynced", PERSISTED, "vm.back_within", "never ran again"),
        ("host_key_not_persisted", PERSISTED, "needs_no_kms", "did not run again"),
        ("waits_for_vcenter", PERSISTED, "vm.back_within", "worst: esxi-00"),
        ("no_autostart", PERSISTED, "vm.running", "not: vm-01"),
        ("says_it_runs", PERSISTED, "no_needless_outage", "said to run, and no guest does"),
        ("speaks_as_another", PERSISTED, "no_internal_error", "violations"),
        ("cache_survives_reboot", UNPERSISTED, "vm.locked", "locked: none"),
    ],
)
def test_an_experiment_turns_red(
    workers: ForkServer, mutation: str, experiment: str, check: str, told: str
) -> None:
    sound = verdict(workers, "", experiment, {})
    assert (sound.exit_code, red(sound)) == (0, {})
    broken = verdict(workers, mutation, experiment, {})
    assert broken.exit_code == 1
    found = {name: text for name, text in red(broken).items() if check in name}
    assert found and all(told in text for text in found.values()), red(broken)
    named = [c for c in broken.checks if check in c.name and c.result is CheckOutcome.FAIL]
    if check in ("needs_no_kms", "no_internal_error"):
        assert all(c.records for c in named), "it names the records that it rests on"


@pytest.mark.sim
def test_keys_of_a_trusted_host_do_not_come_through_its_vcenter(workers: ForkServer) -> None:
    """Both vCenters are down, and every host reboots (TA-06)."""
    assert red(verdict(workers, "", TRUSTED, {})) == {}
    found = red(verdict(workers, "trusted_keys_through_vcenter", TRUSTED, {}))
    assert any("vm.running" in name for name in found)


@pytest.mark.sim
def test_the_oracle_demands_that_a_host_starts_its_vms_also_when_their_keys_come_late(
    workers: ForkServer,
) -> None:
    """Half of the hosts boot without persistence while the key server flaps."""
    whole = {"hosts": 4, "vms": 8}
    assert red(verdict(workers, "", ROLLING, whole)) == {}
    found = red(verdict(workers, "no_autostart", ROLLING, whole))
    assert " is off at " in found["truth_table"] and "R36" in found["truth_table"]
    assert "had to run by" in found["recovery_bound"] and "no_needless_outage" in found


@pytest.mark.sim
@pytest.mark.parametrize(
    "mutation",
    ["dice_urandom", "dice_random", "dice_time", "event_text_random", "record_with_pid"],
)
def test_randomness_outside_of_the_port_breaks_the_replay(
    workers: ForkServer, mutation: str
) -> None:
    sound = {run_in_worker(run_life, "", 42, server=workers) for _ in range(3)}
    assert len(sound) == 1
    broken = {run_in_worker(run_life, mutation, 42, server=workers) for _ in range(3)}
    assert len(broken) == 3


@pytest.mark.sim
def test_an_order_by_hash_breaks_the_replay(workers: ForkServer) -> None:
    """Strings hash as their process draws; here the order is in what a message says.

    Two servers of one hash seed have one order: that this is seen is no luck.
    """
    with closing(server("4242")) as other, closing(server("4242")) as same:

        def lives(mutation: str) -> list[str]:
            found = (workers, other, same)
            return [run_in_worker(run_life, mutation, 42, server=s) for s in found]

        assert len(set(lives(""))) == 1
        first, second, third = lives("order_by_hash")
        assert first != second == third


@pytest.mark.sim
def test_a_finaliser_that_touches_the_world_breaks_the_replay(workers: ForkServer) -> None:
    for mutation, same in (("", True), ("finaliser_pokes", False)):
        found = {run_in_worker(run_life, mutation, 42, n, server=workers) for n in (-1, 1)}
        assert (len(found) == 1) is same, mutation


OUTAGE = [
    ("", ""),
    ("cache_survives_reboot", "vm-01 is not locked"),
    ("vcenter_keeps_values", "vm-01 is not locked"),
    ("unseal_ignores_pcrs", "the changed boot went on"),
    ("speaks_as_another", "the broker refused"),
    ("persistence_unsynced", "vm-01 did not come back from its store"),
]
"""What the outage finds (``outage``); nothing in a healthy lab."""


async def judged(mutation: str, wrong: str, **lab: Any) -> None:
    patch = f"tests.mutations.bugs:{mutation}" if mutation else ""
    async with Lab(hosts=2, vms=2, patch=patch, **lab) as there:
        found = await outage(there)
    if not mutation:
        assert found == []
    else:
        assert any(wrong in line for line in found), found


@pytest.mark.sim
@pytest.mark.parametrize(
    ("mutation", "wrong"), [*OUTAGE, ("unlock_powers_on", "unlocking powered vm-01 on")]
)
async def test_the_outage_turns_red(mutation: str, wrong: str) -> None:
    await judged(mutation, wrong, mode="sim", seed=7)


@needs_tpm
@pytest.mark.sim
async def test_the_outage_turns_red_on_a_real_tpm() -> None:
    await judged(*OUTAGE[0], mode="sim", seed=7, tpm="libtpms")
    await judged(*OUTAGE[3], mode="sim", seed=7, tpm="libtpms")


@needs_tpm
@pytest.mark.lab
@pytest.mark.parametrize(
    ("patch", "wrong"),
    [
        ("", ()),
        ("tests.mutations.bugs:cache_survives_reboot", (OUTAGE[1][1],)),
        ("tests.mutations.bugs:persistence_unsynced", (OUTAGE[5][1],)),
        ("tests.mutations.three_bugs", tuple(wrong for _, wrong in OUTAGE[2:5])),
    ],
)
async def test_the_outage_turns_red_in_real_processes(patch: str, wrong: tuple[str, ...]) -> None:
    """The agent processes import the bugs; the questions are those of the simulation."""
    knobs = {"remediation_interval_s": 60, "boot_step_s": 1}
    async with Lab(mode="lab", hosts=2, vms=2, pace=60, knobs=knobs, patch=patch) as lab:
        found = await outage(lab)
    if not patch:
        assert found == []
    for line in wrong:
        assert any(line in told for told in found), found
