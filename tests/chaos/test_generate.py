"""Random schedules are in bounds, apart, of the kinds that were asked for, and varied."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import msgspec
import pytest

from chaos.checks.works_in_quiet import AFTER_S
from chaos.errors import ChaosError
from chaos.experiment.generate import (
    RANDOM,
    RARE,
    Mix,
    clash,
    count_kinds,
    periods,
    schedule,
)
from chaos.experiment.plan import PlannedFault, dump_plan, load_plan
from chaos.experiment.random_runs import WORKLOAD, OperationStream, random_plan
from chaos.faults import fault_type
from chaos.faults.base import Drawn
from chaos.lab import Directory
from lab.topology.lab_file import load
from lab.topology.plan import directory_of, plan

MIX = Mix()
SEEDS = range(150)


@pytest.fixture(scope="module")
def directory() -> Directory:
    return directory_of(plan(load("default", hosts=4, vms=8)))


@pytest.fixture(scope="module")
def drawn(directory: Directory) -> list[tuple[PlannedFault, ...]]:
    return [schedule(MIX, directory, seed) for seed in SEEDS]


def ends(fault: PlannedFault) -> tuple[float, float]:
    assert fault.until is not None
    return fault.at, fault.until


def test_a_seed_draws_the_same_and_another_seed_another(directory: Directory) -> None:
    assert schedule(MIX, directory, 7) == schedule(MIX, directory, 7)
    assert schedule(MIX, directory, 7) != schedule(MIX, directory, 8)
    made = random_plan(directory, 7, MIX)
    assert dump_plan(load_plan(dump_plan(made))) == dump_plan(made)
    assert made.arrivals and {a.op for a in made.arrivals} >= {"guest.challenge"}


def test_intervals_are_in_bounds_long_enough_and_in_order(
    drawn: list[tuple[PlannedFault, ...]],
) -> None:
    for faults in drawn:
        assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
        assert len({fault.id for fault in faults}) == len(faults)
        for fault in faults:
            begin, end = ends(fault)
            assert MIX.from_s <= begin < end <= MIX.until_s
            assert end - begin >= MIX.least_s - 1e-6
            assert fault.drawn and not fault.cure


def test_no_two_faults_undo_each_other(drawn: list[tuple[PlannedFault, ...]]) -> None:
    for faults in drawn:
        for first, second in combinations(faults, 2):
            (a, b), (c, d) = ends(first), ends(second)
            one, other = first.fault(), second.fault()
            nodes = set(one.touches()) & set(other.touches())
            if a < d + MIX.least_s and c < b + MIX.least_s:
                assert not set(one.holds()) & set(other.holds())
                assert one.kind != other.kind or not nodes
            if one.holds_power and other.holds_power and nodes:
                assert a >= d + MIX.boot_s or c >= b + MIX.boot_s


def test_not_too_many_at_once(drawn: list[tuple[PlannedFault, ...]]) -> None:
    for faults in drawn:
        for fault in faults:
            at = fault.at
            active = sum(begin <= at < end for begin, end in map(ends, faults))
            assert active <= MIX.overlap


def test_every_kind_comes_and_some_runs_lack_each(
    drawn: list[tuple[PlannedFault, ...]],
) -> None:
    seen = Counter(kind for faults in drawn for kind in count_kinds(faults))
    never = {"host.exec_option_removed", "link.reset", "link.stall"}  # not in this lab
    assert set(seen) == set(RANDOM) - never
    assert max(seen.values()) < len(drawn), "a kind that is never left out suppresses others"
    quiet = sum(not kinds for seed in SEEDS for kinds in periods(MIX, seed))
    assert 0.15 < quiet / sum(len(periods(MIX, seed)) for seed in SEEDS) < 0.35


def test_composites_boot_hosts_while_they_measure_something_else(
    drawn: list[tuple[PlannedFault, ...]],
) -> None:
    inside = 0
    for faults in drawn:
        for first, second in combinations(faults, 2):
            (a, b), (c, d) = ends(first), ends(second)
            if first.kind == "host.boot_measure" and a < c < d < b:
                inside += first.fault().touches() == second.fault().touches()
    assert inside > 3


def test_what_has_no_undo_comes_only_when_it_is_named_and_is_cured(directory: Directory) -> None:
    mix = msgspec.structs.replace(MIX, kinds=("tpm.clear", "kms.key_state"), quiet=0.0, omit=0.0)
    faults = schedule(mix, directory, 3)
    assert count_kinds(faults).keys() <= {"tpm.clear", "kms.key_state"} and faults
    assert all(fault.cure for fault in faults)


def test_a_kind_that_is_none_is_refused(directory: Directory) -> None:
    with pytest.raises(ChaosError, match=r"link\.cutt"):
        schedule(msgspec.structs.replace(MIX, kinds=("link.cutt",)), directory, 1)


def test_a_lab_without_hosts_has_nothing_to_draw() -> None:
    alone = [schedule(MIX, Directory(nodes=(), vms=()), seed) for seed in SEEDS]
    assert {fault.kind for faults in alone for fault in faults} == {"broker.restart"}


def test_a_workload_is_what_is_asked_for(directory: Directory) -> None:
    made = random_plan(directory, 1, MIX, workload=(OperationStream("key.create", 1.0, kept=1.0),))
    assert {a.op for a in made.arrivals} == {"key.create"}
    assert 180 < len(made.arrivals) < 300
    assert [a.number for a in made.arrivals] == list(range(1, len(made.arrivals) + 1))


def test_each_run_has_a_part_of_the_operations_and_all_runs_have_all(directory: Directory) -> None:
    plans = [random_plan(directory, seed, MIX) for seed in SEEDS]
    mixes = [{a.op for a in plan.arrivals if a.at < MIX.until_s} for plan in plans]
    at_end = {load.op for load in WORKLOAD if load.quiet and not load.kept}
    assert at_end | set().union(*mixes) == {load.op for load in WORKLOAD}
    assert all("guest.challenge" in ops for ops in mixes)
    assert len({frozenset(ops) for ops in mixes}) > len(SEEDS) / 3
    for stream in WORKLOAD:
        share = sum(stream.op in ops for ops in mixes) / len(mixes)
        assert abs(share - stream.kept) < 0.35, stream.op


def test_each_run_ends_with_operations_in_quiet(directory: Directory) -> None:
    """A minute after the last fault, one after another, while the faults are those without them."""
    without = tuple(msgspec.structs.replace(load, quiet=0) for load in WORKLOAD)
    for seed in SEEDS:
        plan, short = (random_plan(directory, seed, MIX, workload=w) for w in (WORKLOAD, without))
        last = [a for a in plan.arrivals if a.at > MIX.until_s]
        assert sorted(a.op for a in last) == sorted(
            load.op for load in WORKLOAD for _ in range(load.quiet)
        )
        assert min(a.at for a in last) > MIX.until_s + AFTER_S
        assert len({a.at for a in last}) == len(last)
        assert max(a.at for a in last) < plan.duration_s
        assert (plan.faults, short.duration_s) == (short.faults, MIX.until_s)
        assert [(a.at, a.op) for a in plan.arrivals if a not in last] == [
            (a.at, a.op) for a in short.arrivals
        ]


def test_without_vms_there_is_nothing_to_do_to_them(directory: Directory) -> None:
    empty = msgspec.structs.replace(directory, vms=())
    ops = {a.op for a in random_plan(empty, 1, MIX).arrivals}
    assert "keyprovider.live" in ops and "vm.live" not in ops


def test_lives_end_in_the_middle_of_operations(directory: Directory) -> None:
    moments = [20.0, 60.0, 100.0, 140.0]
    tight = 0
    for seed in SEEDS:
        for fault in schedule(MIX, directory, seed, moments):
            after = [fault.at - moment for moment in moments if 0 <= fault.at - moment <= 0.4]
            tight += bool(after) and fault.fault().holds_power
    assert tight > len(SEEDS) / 3
    assert schedule(MIX, directory, 3, ()) == schedule(MIX, directory, 3)


def test_some_runs_have_one_kind_that_only_a_cure_undoes_and_it_has_its_hosts_for_itself(
    directory: Directory,
) -> None:
    mix = msgspec.structs.replace(MIX, rare=True)
    seen: set[str] = set()
    runs = 0
    for seed in range(150):
        plan = random_plan(directory, seed, mix)
        there = {fault.kind for fault in plan.faults} & set(RARE)
        assert len(there) <= 1
        assert all(f.cure != fault_type(f.kind).reversible for f in plan.faults)
        seen |= there
        runs += bool(there)
        for fault in plan.faults:
            if fault.kind.startswith("tpm."):
                assert not [
                    other.id
                    for other in plan.faults
                    if other is not fault
                    and other.until is not None
                    and set(other.fault().touches()) & set(fault.fault().touches())
                    and other.at < ends(fault)[1]
                    and fault.at < ends(other)[1]
                    and any(node.startswith("esxi") for node in other.fault().touches())
                    and other.kind.startswith(("host.", "proc.", "tpm."))
                    and fault_type(other.kind).drawn is not Drawn.APART  # an intruder
                ]
    assert seen == set(RARE)
    assert 5 <= runs <= 20, "a quarter of the runs draws a kind, and few of these have room for it"
    assert "kms.key_state" not in RARE, "its cure is an older database"


def test_where_the_controller_goes_away_a_fault_outlives_its_lease(directory: Directory) -> None:
    away = [plan for seed in range(150) if (plan := random_plan(directory, seed, MIX)).unattended]
    assert 5 < len(away) < 50
    lapsing = 0
    for plan in away:
        [(begin, end)] = plan.unattended
        assert 0 < begin < end <= plan.duration_s and end - begin > 2 * plan.lease_s
        lapsing += any(f.at < begin + plan.lease_s and ends(f)[1] >= end for f in plan.faults)
        for first in plan.faults:
            for second in plan.faults:
                meets = first.at < second.at < ends(first)[1]
                assert not (meets and clash(first.fault(), second.fault()))
    assert lapsing > len(away) / 3
