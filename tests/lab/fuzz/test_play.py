"""Runs of drawn faults: what meets a lab in which it can do nothing is missed, not an error."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from chaos.checks import ALWAYS
from chaos.checks.result import CheckOutcome
from chaos.draws import Draws
from chaos.experiment.generate import Mix
from chaos.experiment.plan import Needs, Plan, PlannedFault
from chaos.experiment.random_runs import random_plan
from chaos.faults import fault_type, to_plain
from chaos.faults.base import Targets
from chaos.history import Record
from lab.fuzz.play import PlayedRun, play
from lab.fuzz.world import CampaignWorld
from lab.simulation.snapshot import BuiltLabs, Origin
from lab.topology.lab_file import load
from lab.topology.plan import directory_of, plan

pytestmark = pytest.mark.sim
TOPOLOGY = plan(load("default", hosts=2, vms=2, tpm="model", key_persistence=True))
KINDS = {"bus", "disk", "database", "datastore", "log", "history"}
DIRECTORY = directory_of(TOPOLOGY)


@pytest.fixture(scope="module")
def snapshot() -> Iterator[BuiltLabs]:
    with BuiltLabs(Origin(TOPOLOGY)) as made:
        yield made


def fault(
    id: str, kind: str, at: float, until: float, *, drawn: bool, **fields: object
) -> PlannedFault:
    cls = fault_type(kind)
    made = cls.of(id, cls.params.model_validate(fields), Targets(DIRECTORY, Draws(1, id)))
    return PlannedFault(
        id=id, kind=kind, at=at, until=until, cure=False, values=to_plain(made), drawn=drawn
    )


def planned(*faults: PlannedFault, duration_s: float = 90.0, lease_s: float = 120.0) -> Plan:
    return Plan(
        name="test",
        title="test",
        seed=1,
        file="",
        duration_s=duration_s,
        max_duration_s=3600,
        lease_s=lease_s,
        recover_s=None,
        settle_s=30.0,
        requires=Needs(),
        topology=None,
        faults=faults,
        arrivals=(),
        probes=(),
        checks=ALWAYS,
    )


def records(played: PlayedRun) -> list[Record]:
    return [msgspec.msgpack.decode(raw, type=Record) for raw in played.history]


@pytest.mark.parametrize(("drawn", "code"), [(True, 0), (False, 5)])
def test_a_fault_that_finds_nothing_to_act_on_is_missed_when_it_was_drawn(
    snapshot: BuiltLabs, drawn: bool, code: int
) -> None:
    made = planned(
        fault("dark", "host.power_loss", 5, 60, drawn=False, on=["esxi-001"]),
        fault("cut", "link.cut", 20, 30, drawn=drawn, between=["vcenter", "esxi-001"]),
        fault("still", "proc.pause", 40, 50, drawn=drawn, on=["esxi-001"]),
    )
    played = play(snapshot, made, history=True)
    assert played.verdict.exit_code == code, played.verdict.reasons
    missed = {r.data["id"]: r.data["error"] for r in records(played) if r.op == "missed"}
    assert (set(missed) == {"cut", "still"}) == drawn
    if drawn:
        assert "KS-CHAOS-101" in missed["cut"] and "KS-CHAOS-106" in missed["still"]


@pytest.mark.parametrize(("drawn", "code"), [(True, 0), (False, 5)])
def test_a_drawn_fault_whose_heal_another_hides_ends_when_that_one_does(
    snapshot: BuiltLabs, drawn: bool, code: int
) -> None:
    """The host whose TPM shows that it answers is dark by the second."""
    made = planned(
        fault("first", "tpm.dead", 5, 12, drawn=drawn, on=["esxi-001"]),
        fault("second", "host.power_loss", 10, 40, drawn=drawn, on=["esxi-001"]),
    )
    played = play(snapshot, made, history=True)
    assert played.verdict.exit_code == code, played.verdict.reasons
    healed = {r.data["id"]: r.t for r in records(played) if r.type == "heal" and r.data["verified"]}
    assert not drawn or healed["first"] > 40


def test_a_drawn_fault_whose_lease_runs_out_while_it_is_taken_back_is_seen_gone(
    snapshot: BuiltLabs,
) -> None:
    made = planned(
        fault("first", "tpm.dead", 5, 12, drawn=True, on=["esxi-001"]),
        fault("second", "host.power_loss", 10, 80, drawn=True, on=["esxi-001"]),
        lease_s=20.0,
    )
    played = play(snapshot, made, history=True)
    assert played.verdict.exit_code == 0, played.verdict.reasons
    assert {r.data["id"] for r in records(played) if r.type == "heal" and r.data["verified"]} == {
        "first",
        "second",
    }


@pytest.mark.slow
def test_runs_of_random_plans_are_well_and_the_same_again(snapshot: BuiltLabs) -> None:
    mix = msgspec.structs.replace(Mix(), until_s=120.0)
    for seed in (3, 11):
        made = random_plan(DIRECTORY, seed, mix, settle_s=30.0)
        first, again = play(snapshot, made, history=True), play(snapshot, made, history=True)
        assert first.verdict.exit_code in (0, 2), first.verdict.reasons
        assert first.verdict.trace_hash == again.verdict.trace_hash
        assert first.history == again.history
        assert first.cpu_s > 0
        assert not play(snapshot, made).history


@pytest.mark.parametrize(
    ("patch", "result"),
    [("", CheckOutcome.PASS), ("tests.mutations.bugs:key_leaks", CheckOutcome.FAIL)],
)
def test_in_a_lab_that_keeps_the_ledger_a_run_ends_with_a_search_for_keys(
    patch: str, result: CheckOutcome
) -> None:
    made = msgspec.structs.replace(
        random_plan(DIRECTORY, 3, msgspec.structs.replace(Mix(), until_s=60.0), settle_s=5.0),
        faults=(),
    )
    with BuiltLabs(Origin(TOPOLOGY, patch=patch, ledger=True)) as snapshot:
        played = play(snapshot, made, history=True)
    [found] = [c for c in played.verdict.checks if c.name == "no_plaintext_key"]
    assert found.result is result, found.text
    [scan] = [r for r in records(played) if r.op == "scan"]
    assert set(scan.data["places"]) == set(scan.data["canary"]) == KINDS
    where = {one["kind"] for one in scan.data["findings"]}
    assert where == ({"bus", "disk", "database", "datastore", "log"} if patch else set())


@pytest.mark.slow
def test_servers_that_hand_on_messages_of_kmip_say_no_key_in_clear() -> None:
    """No other run looks for keys in what they say to each other."""
    world = CampaignWorld(lab="kmip", hosts=1, vms=1, kms=3, kms_mode="forward")
    with BuiltLabs(world.origin(ledger=True)) as made:
        verdict = play(made, planned(duration_s=5.0)).verdict
    found = {check.name: check for check in verdict.checks}
    assert found["no_plaintext_key"].result == CheckOutcome.PASS, verdict.reasons
