"""Random schedules are in bounds, apart, of the kinds that were asked for, and varied."""

from __future__ import annotations

from collections import Counter
from itertools import combinations

import msgspec
import pytest

from chaos.errors import ChaosError
from chaos.experiment.generate import (
    RANDOM,
    Mix,
    Stream,
    counted,
    periods,
    random_plan,
    schedule,
)
from chaos.experiment.plan import PlannedFault, dump_plan, load_plan
from chaos.lab import Directory
from lab.core import directory_of
from lab.topology.lab_file import load
from lab.topology.plan import plan

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
    assert made.arrivals and {a.op for a in made.arrivals} >= {"guest.challenge", "key.create"}


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
    seen = Counter(kind for faults in drawn for kind in counted(faults))
    never = {"host.exec_option_removed", "tpm.dead"}
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
    assert counted(faults).keys() <= {"tpm.clear", "kms.key_state"} and faults
    assert all(fault.cure for fault in faults)


def test_a_kind_that_is_none_is_refused(directory: Directory) -> None:
    with pytest.raises(ChaosError, match=r"link\.cutt"):
        schedule(msgspec.structs.replace(MIX, kinds=("link.cutt",)), directory, 1)


def test_a_lab_without_hosts_has_nothing_to_draw() -> None:
    alone = [schedule(MIX, Directory(nodes=(), vms=()), seed) for seed in SEEDS]
    assert {fault.kind for faults in alone for fault in faults} == {"broker.restart"}


def test_a_workload_is_what_is_asked_for(directory: Directory) -> None:
    made = random_plan(directory, 1, MIX, workload=(Stream("key.create", 1.0),))
    assert {a.op for a in made.arrivals} == {"key.create"}
    assert 180 < len(made.arrivals) < 300
    assert [a.number for a in made.arrivals] == list(range(1, len(made.arrivals) + 1))
