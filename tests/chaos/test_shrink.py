"""Shrinking keeps what fails and takes away the rest; its file is the same plan again."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from chaos.experiment.generate import Mix, random_plan
from chaos.experiment.lint import check_experiment
from chaos.experiment.plan import Plan
from chaos.experiment.resolve import plan as resolve
from chaos.experiment.shrink import Shrinker, as_file, numbered, reduced
from chaos.lab import Directory
from lab.core import directory_of
from lab.topology.lab_file import load
from lab.topology.plan import plan

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

    assert reduced(items, tried) == [item for item in items if item in needed]
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


@pytest.mark.parametrize("kinds", [None, ("tpm.clear", "kms.key_state", "provider.delete")])
def test_the_file_of_a_plan_is_the_plan(
    directory: Directory, kinds: tuple[str, ...] | None
) -> None:
    for seed in range(6):
        mix = Mix() if kinds is None else Mix(kinds=kinds, omit=0.0)
        made = random_plan(directory, seed, mix, topology=TOPOLOGY)
        made = msgspec.structs.replace(made, order="few", max_duration_s=3600.0)
        text = yaml.safe_dump(as_file(made, ["no_fault_left"], note="seed"), sort_keys=False)
        again = resolve(check_experiment(text, ""), directory, made.seed)
        assert again == made


def test_operations_are_numbered_as_a_file_would(directory: Directory) -> None:
    made = random_plan(directory, 1, Mix())
    kept = numbered(made.arrivals[::7])
    assert [a.number for a in kept] == list(range(1, len(kept) + 1))
    assert [a.at for a in kept] == sorted(a.at for a in kept)
