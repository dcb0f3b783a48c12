"""What measurements come to, to the last word, and at which lab seconds they are made."""

from __future__ import annotations

import asyncio
import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.plan import Needs, Plan, PlannedProbe
from chaos.history import History
from chaos.hypotheses.probes import PROBES, Measured, Scope, Sources, tolerance
from chaos.observe.look import LabLook
from chaos.playing.measure import Hypotheses
from chaos.workload.base import OperationCounts
from protocol.terms import NodeName, VmName

NAN, INF = math.nan, math.inf
YES, NO = 1.0, 0.0
PASS, FAIL, UNKNOWN = CheckOutcome.PASS, CheckOutcome.FAIL, CheckOutcome.UNKNOWN
BEGIN_S = 100.0


@dataclass
class Watch:
    """The lab, of which hypotheses read the clock only: it stands still unless somebody sleeps."""

    now: float = BEGIN_S

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        assert seconds > 0, "nobody waits for what is now or was"
        self.now += seconds


@dataclass
class Script:
    """A probe that measures ``values`` in turn, each after ``takes_s``; and what it was asked."""

    watch: Watch
    values: list[float]
    takes_s: float = 0.0
    detail: str = ""
    asked: list[tuple[float, Scope, Sources, LabLook]] = field(default_factory=list)

    async def measure(self, look: LabLook, scope: Scope, sources: Sources) -> Measured:
        self.asked.append((self.watch.now - BEGIN_S, scope, sources, look))
        self.watch.now += self.takes_s
        assert self.values, "it is measured more often than it should be"
        return Measured(self.values.pop(0), self.detail)

    def times(self) -> list[float]:
        """Lab seconds since the begin at which it was measured, once every value was."""
        assert not self.values, "it is measured less often than it should be"
        return [at for at, *_ in self.asked]


class Bench:
    """Hypotheses over scripted probes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.watch = Watch()
        self.history = History(None, self.watch.monotonic)
        none: Any = None
        self.sources = Sources(none, none, OperationCounts())
        self._patch = monkeypatch

    def script(self, probe: str, *values: float, **how: Any) -> Script:
        made = Script(self.watch, list(values), **how)
        scripted = dataclasses.replace(PROBES[probe], measure=made.measure)
        self._patch.setitem(PROBES, probe, scripted)
        return made

    def of(self, *probes: PlannedProbe, duration_s: float = 10.0) -> Hypotheses:
        plan = Plan(
            name="x",
            title="x",
            seed=1,
            file="x.yaml",
            duration_s=duration_s,
            max_duration_s=99.0,
            lease_s=9.0,
            recover_s=None,
            requires=Needs(),
            topology=None,
            faults=(),
            arrivals=(),
            probes=probes,
            checks=(),
        )
        lab: Any = self.watch
        return Hypotheses(plan, lab, self.history, self.sources)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def planned(when: str = "during", probe: str = "vm.running", is_: str = "== 1", **how: Any) -> Any:
    return PlannedProbe(when=when, probe=probe, is_=tolerance(is_), **how)


def result(outcome: CheckOutcome, text: str, label: str = "during vm.running == 1") -> CheckResult:
    return CheckResult(name=label, result=outcome, text=text)


@pytest.mark.parametrize(
    ("value", "detail", "written", "holds", "judged"),
    [
        (1.0, "all 2", 1.0, True, (PASS, "measured 1: all 2")),
        (1.0, "", 1.0, True, (PASS, "measured 1")),
        (0.12345678, "not: vm-01", 0.123457, False, (FAIL, "measured 0.123457: not: vm-01")),
        (INF, "", None, False, (FAIL, "measured inf")),
        (NAN, "nothing there", None, False, (UNKNOWN, "nothing there")),
    ],
)
def test_a_measurement_is_judged_and_written_into_the_history(
    bench: Bench,
    value: float,
    detail: str,
    written: float | None,
    holds: bool,
    judged: tuple[CheckOutcome, str],
) -> None:
    script = bench.script("vm.running", value, detail=detail)
    probe = planned(vms=(VmName("vm-01"),), hosts=(NodeName("esxi-001"),), op="o", view="vcenter")
    hypotheses = bench.of(probe)
    lab: Any = bench.watch
    look = LabLook(lab)
    found = asyncio.run(hypotheses.measure(probe, look))
    assert script.asked == [(0.0, probe.scope(), bench.sources, look)]
    assert hypotheses.judge(probe, found) == result(*judged)
    [record] = bench.history.records
    assert (record.type, record.node, record.op) == ("probe", "", "vm.running")
    told = {"when": "during", "value": written, "holds": holds, "detail": detail}
    assert record.data == told


@pytest.mark.parametrize(
    ("within_s", "values", "times"),
    [
        (0.0, [YES], [0]),
        (0.0, [NO], [0]),
        (0.9, [NO], [0]),
        (1.0, [NO, NO], [0, 1]),
        (2.5, [NO, NAN, NO], [0, 1, 2]),
        (60.0, [NAN, NO, YES], [0, 1, 2]),
    ],
)
def test_it_is_tried_each_second_until_it_holds_or_its_time_is_over(
    bench: Bench, within_s: float, values: list[float], times: list[float]
) -> None:
    outcome = PASS if values[-1] == YES else FAIL
    script = bench.script("vm.running", *values)
    probe = planned("before", within_s=within_s)
    [found] = asyncio.run(bench.of(probe, planned("after"), planned("during")).before())
    assert script.times() == times
    assert found == result(outcome, f"measured {values[-1]:g}", "before vm.running == 1")


def test_each_of_before_has_a_time_of_its_own_and_one_result(bench: Bench) -> None:
    slow, never = bench.script("vm.running", NO, NO, YES), bench.script("host.up", NO, NO)
    probes = planned("before", within_s=9.0), planned("before", "host.up", within_s=1.0)
    found = asyncio.run(bench.of(*probes).before())
    assert found == [
        result(PASS, "measured 1", "before vm.running == 1"),
        result(FAIL, "measured 0", "before host.up == 1"),
    ]
    assert (slow.times(), never.times()) == ([0, 1, 2], [2, 3])


def test_several_must_hold_at_once_and_are_looked_at_in_one_snapshot(bench: Bench) -> None:
    one, other = bench.script("vm.running", YES, NO, YES), bench.script("host.up", NO, YES, YES)
    probes = [planned("after"), planned("after", "host.up")]
    found = asyncio.run(bench.of(*probes).until_hold(probes, 60.0))
    assert [check.result for check in found] == [PASS, PASS]
    assert one.times() == other.times() == [0, 1, 2]
    looks = [[look for *_, look in script.asked] for script in (one, other)]
    assert looks[0] == looks[1] and len(set(map(id, looks[0]))) == 3


DURING: list[tuple[dict[str, Any], float, Sequence[float], CheckOutcome, str]] = [
    # From start to until, both included; the plan's end bounds it. 2 s take 0, 1 and 2.
    ({}, 2.0, [YES] * 3, PASS, "held 3 times"),
    ({"start": 1.0}, 2.0, [YES] * 2, PASS, "held 2 times"),
    ({"until": 1.0}, 2.0, [YES] * 2, PASS, "held 2 times"),
    ({"until": 9.0}, 2.0, [YES] * 3, PASS, "held 3 times"),
    ({"every_s": 2.0}, 2.0, [YES] * 2, PASS, "held 2 times"),
    # Fails longer than its grace at any time; what is told is the first time that it does.
    ({}, 2.0, [YES, NO, YES], FAIL, "measured 0: seen, 1.0 s after the begin"),
    ({"start": 1.0}, 2.0, [YES, NO], FAIL, "measured 0: seen, 2.0 s after the begin"),
    ({}, 3.0, [YES, NO, 0.5, YES], FAIL, "measured 0: seen, 1.0 s after the begin"),
    ({}, 3.0, [NO, YES, 0.5, YES], FAIL, "measured 0: seen, 0.0 s after the begin"),
    ({"grace_s": 1.0}, 3.0, [YES, NO, YES, NO], PASS, "held 2 times"),
    ({"grace_s": 1.0}, 3.0, [YES, NO, 0.5, NO], FAIL, "measured 0.5: seen, 2.0 s after the begin"),
    ({"grace_s": 1.0}, 2.0, [NO, NAN, 0.5], FAIL, "measured 0.5: seen, 2.0 s after the begin"),
    # What was not seen to hold, or mostly not seen, is unknown.
    ({}, 1.0, [NAN, NAN], UNKNOWN, "it was never measured to hold"),
    ({"grace_s": 9.0}, 1.0, [NO, NO], UNKNOWN, "it was never measured to hold"),
    ({}, 1.0, [NAN, YES], PASS, "held 1 times"),
    ({}, 2.0, [NAN, YES, NAN], UNKNOWN, "it could not be measured 2 of 3 times"),
    ({}, 2.0, [NAN, NAN, NO], FAIL, "measured 0: seen, 2.0 s after the begin"),
]


@pytest.mark.parametrize(("how", "duration_s", "values", "outcome", "text"), DURING)
def test_what_a_probe_of_during_comes_to(
    bench: Bench,
    how: dict[str, Any],
    duration_s: float,
    values: Sequence[float],
    outcome: CheckOutcome,
    text: str,
) -> None:
    script = bench.script("vm.running", *values, detail="seen")
    probe = planned(**({"every_s": 1.0} | how))
    bench.watch.now += 5.0  # the fault phase begins later than the lab
    start = bench.watch.now
    found = asyncio.run(bench.of(probe, duration_s=duration_s).sample(probe, start))
    assert found == result(outcome, text)
    first = 5.0 + probe.start
    assert script.times() == [first + n * probe.every_s for n in range(len(values))]


@pytest.mark.parametrize(
    ("takes_s", "grace_s", "outcome", "times"),
    [
        (0.5, 0.5, FAIL, [0.0, 1.0, 2.0]),  # it did not hold while it was measured
        (0.5, 0.6, PASS, [0.0, 1.0, 2.0]),
        (1.5, 1.6, PASS, [0.0, 1.5, 3.0]),  # one that takes longer than its period
    ],
)
def test_a_measurement_takes_time_of_its_grace_and_of_its_period(
    bench: Bench, takes_s: float, grace_s: float, outcome: CheckOutcome, times: list[float]
) -> None:
    script = bench.script("vm.running", YES, NO, YES, takes_s=takes_s)
    probe = planned(every_s=1.0, grace_s=grace_s)
    found = asyncio.run(bench.of(probe, duration_s=times[-1]).sample(probe, BEGIN_S))
    assert (found.result, script.times()) == (outcome, times)


@pytest.mark.parametrize(
    ("grace_s", "values", "times", "told"),
    [
        (0.0, [YES], [0], "at once"),
        (0.0, [NO, NO, YES], [0, 1, 2], "at once"),
        (2.0, [YES, YES, YES], [0, 1, 2], "for 2 s"),
        (2.0, [YES, YES, NO, YES, YES, YES], [0, 1, 2, 3, 4, 5], "for 2 s"),
        (2.0, [YES, NAN, YES, YES, YES], [0, 1, 2, 3, 4], "for 2 s"),
    ],
)
def test_a_cue_comes_when_its_probe_has_held_for_its_whole_grace(
    bench: Bench, grace_s: float, values: list[float], times: list[float], told: str
) -> None:
    script = bench.script("vm.running", *values)
    probe = planned(grace_s=grace_s, every_s=1.0)
    found = asyncio.run(bench.of(probe).holds_for(probe))
    assert script.times() == times
    assert found == f"vm.running == 1 {told}: measured 1"


def test_a_probe_with_a_cue_is_measured_within_its_window(bench: Bench) -> None:
    script = bench.script("vm.running", YES, YES, YES)
    probe = planned(every_s=1.0)
    made = bench.of(probe, duration_s=60.0)
    found = asyncio.run(made.sample(probe, BEGIN_S, (3.0, 5.0)))
    assert (script.times(), found.text) == ([3, 4, 5], "held 3 times")
