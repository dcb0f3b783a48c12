"""Figures of a run: bands of faults, phases, and how long operations took in them."""

from __future__ import annotations

import pytest

from chaos.report.latency import OperationSample, figures, samples
from chaos.report.phases import NEVER, RunPhase, RunPhases, bands, phases, rows
from tests.chaos.report.tales import Tale


def outage() -> Tale:
    """A cut from 10 to 50 s, a power loss from 20 to 30 s; hosts are right at 58 s."""
    tale = Tale()
    tale.add(0.0, "probe", "vm.running", when="before", holds=True)
    tale.fault(10.0, "wan", nodes=["kms", "vcenter"])
    tale.fault(20.0, "dark", "host.power_loss")
    tale.heal(30.0, "dark")
    tale.heal(50.0, "wan")
    tale.add(51.0, "probe", "vm.running", when="after", holds=False)
    tale.add(58.0, "probe", "vm.running", when="after", holds=True)
    tale.add(60.0, "probe", "vm.works", when="after", holds=True)
    return tale


def test_a_band_lasts_from_its_begin_until_it_was_seen_gone() -> None:
    wan, dark = bands(outage().records)
    assert (wan.id, wan.kind, wan.began, wan.ended) == ("wan", "link.cut", 10.0, 50.0)
    assert (wan.nodes, wan.summary) == (("kms", "vcenter"), "wan is there")
    assert (wan.seq, wan.heal, dark.seq, dark.heal) == (2, 5, 3, 4)
    assert [wan.covers(t) for t in (9.9, 10.0, 49.9, 50.0)] == [False, True, True, False]


def test_a_heal_that_was_not_seen_to_work_ends_no_band() -> None:
    tale = Tale()
    tale.fault(1.0, "wan")
    tale.heal(2.0, "wan", verified=False)
    (wan,) = bands(tale.records)
    assert wan.ended is None and wan.covers(1e9)


def test_a_fault_that_could_not_be_made_covers_nothing() -> None:
    tale = Tale()
    tale.fault(1.0, "wan", error="KS-CHAOS-101: it did not bite")
    assert not bands(tale.records)[0].covers(1.5)
    assert phases(tale.records) == RunPhases(NEVER, NEVER, NEVER)


@pytest.mark.parametrize(
    ("spans", "placed"),
    [
        ((), ()),
        (((0, 5), (1, 6), (5, 7), (6, 9)), (0, 1, 0, 1)),
        (((0, 9), (1, 9), (2, 9), (9, 10)), (0, 1, 2, 0)),
        (((0, 0), (0, 0)), (0, 0)),
    ],
)
def test_spans_in_a_row_never_overlap(
    spans: tuple[tuple[float, float], ...], placed: tuple[int, ...]
) -> None:
    assert rows(spans) == placed


def test_a_fault_on_links_has_sides() -> None:
    tale = Tale()
    tale.fault(1.0, "wan", values={"a": ["esxi-001"], "b": ["kms", "vcenter"]})
    tale.fault(2.0, "dark", "host.power_loss", values={"nodes": ["esxi-001"]})
    wan, dark = bands(tale.records)
    assert wan.sides == (frozenset({"esxi-001"}), frozenset({"kms", "vcenter"}))
    assert dark.sides == (frozenset(), frozenset())


def test_phases_go_by_what_was_seen() -> None:
    found = phases(outage().records)
    assert found == RunPhases(10.0, 50.0, 58.0)
    times = (0.0, 10.0, 35.0, 50.0, 57.9, 58.0, 1e9)
    before, fault, heal, after = RunPhase
    assert [found.of(t) for t in times] == [before, fault, fault, heal, heal, after, after]


def test_a_host_whose_vms_run_again_later_makes_the_healing_longer() -> None:
    tale = outage()
    tale.add(64.0, "state", "recovery", "esxi-001")
    tale.add(70.0, "state", "counters", "esxi-001")
    assert phases(tale.records).after == 64.0


def test_a_hypothesis_that_never_held_again_means_that_healing_never_ended() -> None:
    tale = outage()
    tale.add(61.0, "probe", "host.safe", when="after", holds=False)
    tale.add(62.0, "state", "recovery", "esxi-001")
    assert phases(tale.records).after == NEVER


def test_a_fault_that_stays_has_no_healing_after_it() -> None:
    tale = outage()
    tale.fault(70.0, "gone", "tpm.clear")
    assert phases(tale.records) == RunPhases(10.0, NEVER, NEVER)


def test_a_run_without_faults_is_before_them_all() -> None:
    assert phases(()).of(1e6) is RunPhase.BEFORE


def worked() -> tuple[OperationSample, ...]:
    tale = Tale()
    for n in range(1, 101):
        tale.operation(0.5, "key.create", n / 1000, n)
    tale.fault(10.0, "wan")
    tale.operation(12.0, "key.create", 60.0, 200, "info")
    tale.operation(13.0, "key.create", 0.25, 201, "fail")
    tale.operation(14.0, "key.create", None, 202)
    tale.add(15.0, "ok", "key.create", "vm-01", n=0)  # a last look that nobody invoked
    tale.operation(16.0, "vm.encrypt", 2.0, 300)
    return samples(tale.records)


def test_an_operation_lasts_from_its_invoke_to_its_end() -> None:
    taken = worked()
    assert len(taken) == 104
    assert taken[0].seconds == pytest.approx(0.001) and taken[0].phase is RunPhase.BEFORE
    assert [s.end for s in taken[100:103]] == ["info", "fail", ""]
    assert [s.seconds for s in taken[100:102]] == pytest.approx([60.0, 0.25])
    assert taken[102].seconds is None


def test_percentiles_are_those_of_what_ended_ok_in_the_phase() -> None:
    before, fault, encrypt = figures(worked())
    assert (before.op, before.phase, before.ends) == ("key.create", RunPhase.BEFORE, {"ok": 100})
    assert before.p50 == pytest.approx(0.050, rel=2e-3)
    assert before.p90 == pytest.approx(0.090, rel=2e-3)
    assert before.p99 == pytest.approx(0.099, rel=2e-3)
    assert before.max == pytest.approx(0.100)
    assert fault.phase is RunPhase.FAULT and fault.count == 3
    assert fault.ends == {"info": 1, "fail": 1, "": 1} and fault.p50 is None and fault.max is None
    assert encrypt.op == "vm.encrypt" and encrypt.max == pytest.approx(2.0)


@pytest.mark.parametrize("took", [0.0, 1e-7, 2e6])
def test_what_a_histogram_cannot_hold_is_told_by_its_nearest_figure(took: float) -> None:
    tale = Tale()
    tale.operation(0.0, "key.create", took, 1)
    (found,) = figures(samples(tale.records))
    assert found.max == pytest.approx(took) and found.p50 is not None
    assert found.p50 == pytest.approx(min(max(took, 1e-6), 86_400.0), rel=2e-3)
