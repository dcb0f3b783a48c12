"""Shrinking keeps what fails and takes away the rest; its file is the same plan again."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaos.checks import ALWAYS
from chaos.experiment.generate import Mix
from chaos.experiment.lint import check_experiment
from chaos.experiment.plan import Plan
from chaos.experiment.random_runs import random_plan
from chaos.experiment.resolve import plan as resolve
from chaos.experiment.shrink import Shrinker, reduce_items, renumber
from chaos.experiment.write import as_file
from chaos.lab import Directory
from lab.play.prepare import list_shipped, prepare
from lab.topology.lab_file import load
from lab.topology.plan import directory_of, plan

TOPOLOGY = {"use": "default", "with": {"hosts": 4, "vms": 8}}


@pytest.fixture(scope="module")
def directory() -> Directory:
    return directory_of(plan(load("default", hosts=4, vms=8)))


@given(st.lists(st.integers(0, 50), unique=True, max_size=30), st.data())
def test_delta_debugging_finds_the_needed_ones(items: list[int], data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.sampled_from(items), max_size=3)) if items else set()
    tries: list[Sequence[int]] = []

    def tried(kept: Sequence[int]) -> bool:
        tries.append(kept)
        return needed <= set(kept)

    assert reduce_items(items, tried) == [item for item in items if item in needed]
    assert len(tries) < 200


def kinds(plan: Plan) -> list[str]:
    return [fault.kind for fault in plan.faults]


def seed_with(directory: Directory, *wanted: str) -> Plan:
    for seed in range(500):
        made = random_plan(directory, seed, Mix(), topology=TOPOLOGY)
        if set(wanted) <= set(kinds(made)):
            return made
    raise AssertionError("no seed has them")


def test_one_fault_that_matters_is_what_is_left(directory: Directory) -> None:
    made = seed_with(directory, "link.cut", "host.power_loss")

    def fails(plan: Plan) -> bool:
        return any(
            fault.kind == "host.power_loss" and "esxi-002" in fault.fault().touches()
            for fault in plan.faults
        )

    made = msgspec.structs.replace(
        made,
        faults=tuple(
            msgspec.structs.replace(
                f, values={**f.values, "nodes": ("esxi-001", "esxi-002", "esxi-003")}
            )
            if f.kind == "host.power_loss"
            else f
            for f in made.faults
        ),
    )
    shrinker = Shrinker(fails, directory)
    small = shrinker.shrink(made)
    assert fails(small)
    assert kinds(small) == ["host.power_loss"]
    assert small.arrivals == ()
    assert small.faults[0].fault().touches() == ("esxi-002",)
    assert small.order == "fifo"
    assert small.duration_s < 20
    assert small.faults[0].at == round(small.faults[0].at)
    assert shrinker.runs <= 200


def test_two_that_only_fail_together_stay_with_their_operation(directory: Directory) -> None:
    made = seed_with(directory, "link.cut", "vcenter.down")

    def fails(plan: Plan) -> bool:
        there = {"link.cut", "vcenter.down"} <= set(kinds(plan))
        return there and any(arrival.op == "key.create" for arrival in plan.arrivals)

    small = Shrinker(fails, directory).shrink(made)
    assert sorted(kinds(small)) == ["link.cut", "vcenter.down"]
    assert [arrival.op for arrival in small.arrivals] == ["key.create"]


def test_a_spent_budget_leaves_the_best_so_far(directory: Directory) -> None:
    made = seed_with(directory, "link.cut")
    heard: list[str] = []
    shrinker = Shrinker(
        lambda plan: "link.cut" in kinds(plan), directory, budget=3, told=heard.append
    )
    small = shrinker.shrink(made)
    assert shrinker.runs == 3
    assert "link.cut" in kinds(small)
    assert heard[-1].startswith("after 3 runs: ")


def test_what_fails_without_anything_shrinks_to_nothing(directory: Directory) -> None:
    small = Shrinker(lambda plan: True, directory).shrink(seed_with(directory, "link.cut"))
    assert (small.faults, small.arrivals) == ((), ())


@pytest.mark.slow
@pytest.mark.parametrize("kinds", [None, ("tpm.clear", "kms.key_state", "provider.delete")])
def test_the_file_of_a_plan_is_the_plan(
    directory: Directory, kinds: tuple[str, ...] | None
) -> None:
    for seed in range(6):
        mix = Mix() if kinds is None else Mix(kinds=kinds, omit=0.0)
        made = random_plan(directory, seed, mix, topology=TOPOLOGY)
        made = msgspec.structs.replace(made, order="few", unattended=((10.0, 70.5),))
        assert read_again(made, directory) == made


RICH = """
apiVersion: keystead/v1
kind: Experiment
name: rich
title: Every kind of entry, cue, hypothesis and guard that a file can have
seed: 11
topology: {use: default, with: {hosts: 4, vms: 8}}
requires: {provider: standard, tpm: any, hosts: ">=2", persistence: "off"}
hypothesis:
  before: [{probe: vm.running, is: "== 100%", within: 60s}]
  during: [{probe: host.safe, is: ">= 50%", from: 5s, until: 60s, grace: 3s}]
  recover: {within: 60s}
  after:
    - {probe: vm.works, is: ">= 1", on: [vm-01, vm-02]}
    - {probe: op.ok, op: key.create, is: ">= 50%"}
guards:
  lease: 60s
  max_duration: 20m
  blast_radius: {tpm.clear: 1}
  abort_if: [{probe: host.up, is: "< 10%", for: 30s, view: vcenter}]
  unattended: [{from: 10s, for: 80s}]
schedule:
  - {id: wan, at: 10s, for: 20s, fault: link.cut, between: [vcenter, kms], dir: to}
  - {id: later, after: wan + 20s, fault: host.reboot, on: esxi-001}
  - {id: gone, when: {event: "ok:key.create", nth: 2, plus: 3s}, for: 9s, fault: vcenter.down}
  - {id: then, after: gone + 1s, do: key.generate, optional: true}
  - {id: far, after: end of gone + 2s, for: 5s, fault: proc.pause, on: kms, optional: true}
  - {id: new, at: 1s, do: vm.create, name: vm-new, encrypted: true, must: ok}
  - {id: often, when: {event: "fault:host.reboot", on: esxi-001}, every: 10s, times: 3, do: vm.off,
     on: [vm-01, vm-02]}
  - {id: tpm, at: 30s, fault: tpm.clear, on: esxi-002, cure: true, for: 5s}
  - {id: roll, at: 40s, fault: host.power_loss, for: 5s,
     rolling: {over: "role:esxi", batch: 2, gap: 3s, wait: running, within: 90s}}
  - {point: {node: kms, call: db.commit, nth: 2, from: 5s, function: "*Keys*"}, id: inside, for: 5s,
     fault: point.crash, way: power_loss, moment: within, optional: true}
  - {id: walk, at: 50s, do: host.reconnect, rolling: {over: "role:esxi", gap: 1s}}
workload: [{op: vm.move, at: 3s, on: vm-03}, {op: key.create, rate: 0.1/s}]
checks: {add: [needs_no_kms]}
"""


def test_the_file_of_a_plan_with_everything_is_the_plan(directory: Directory) -> None:
    made = resolve(check_experiment(RICH, ""), directory, 11)
    assert {type(p.cue.what).__name__ for p in made.entries() if p.cue} == {
        "Seen",
        "Begun",
        "Ended",
        "Strike",
    }
    again = read_again(made, directory, "needs_no_kms")
    for name in made.__struct_fields__:
        assert getattr(again, name) == getattr(made, name), name


def test_the_file_of_a_plan_says_nothing_that_goes_without_saying(directory: Directory) -> None:
    """A probe's usual view and nobody to ask it of: its reader has the rest."""
    written = as_file(resolve(check_experiment(RICH, ""), directory, 11), [])
    hosts = [f"esxi-00{number}" for number in range(1, 5)]
    all_vms = [f"vm-0{number}" for number in range(1, 9)]
    assert written["hypothesis"] == {
        "before": [{"probe": "vm.running", "is": "== 100%", "on": all_vms, "within": "60s"}],
        "during": [
            {
                "probe": "host.safe",
                "is": ">= 50%",
                "on": hosts,
                "every": "10s",
                "grace": "3s",
                "from": "5s",
                "until": "60s",
            }
        ],
        "after": [
            {"probe": "vm.works", "is": ">= 1", "on": ["vm-01", "vm-02"]},
            {"probe": "op.ok", "op": "key.create", "is": ">= 50%"},
        ],
        "recover": {"within": "60s"},
    }
    [abort] = written["guards"]["abort_if"]
    assert abort == {
        "probe": "host.up",
        "is": "< 10%",
        "on": hosts,
        "view": "vcenter",
        "for": "30s",
        "every": "5s",
    }


@pytest.mark.parametrize("path", list_shipped(), ids=lambda path: path.stem)
def test_the_file_of_a_shipped_experiment_is_the_same_experiment(path: Path) -> None:
    prepared = prepare(path.stem, 5, {})
    made = prepared.plan
    extra = [check for check in made.checks if check not in ALWAYS]
    again = read_again(made, directory_of(prepared.topology), *extra)
    assert msgspec.structs.replace(again, file=made.file) == made


def read_again(made: Plan, directory: Directory, *checks: str) -> Plan:
    text = yaml.safe_dump(as_file(made, [*checks, "no_fault_left"], note="seed"), sort_keys=False)
    return resolve(check_experiment(text, ""), directory, made.seed)


def test_what_came_after_an_entry_that_is_gone_begins_at_its_time(directory: Directory) -> None:
    """Only the last batch of a roll is needed, and one action: the rest is taken away."""
    made = resolve(check_experiment(RICH, ""), directory, 11)

    def fails(plan: Plan) -> bool:
        there = {planned.id for planned in plan.entries()}
        return {"roll-2", "then"} <= there

    small = Shrinker(fails, directory).shrink(made)
    assert [fault.id for fault in small.faults] == ["roll-2"]
    assert [action.id for action in small.actions] == ["then"]
    assert not small.unattended
    assert all(planned.cue is None for planned in small.entries())
    assert small.faults[0].until is not None
    assert read_again(small, directory, "needs_no_kms") == small


def test_operations_are_numbered_as_a_file_would(directory: Directory) -> None:
    made = random_plan(directory, 1, Mix())
    kept = renumber(made.arrivals[::7])
    assert [a.number for a in kept] == list(range(1, len(kept) + 1))
    assert [a.at for a in kept] == sorted(a.at for a in kept)
