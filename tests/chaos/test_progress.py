"""How far a run is: phases with their times, lines, and what an interrupt finds in each of them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from chaos.experiment.plan import Plan
from chaos.history import History, as_written, records_of
from chaos.playing.engine import run
from chaos.progress import PhaseProgress, ProgressStep, quiet
from chaos.verdict import Verdict
from tests.chaos.test_engine import CUT, all_well, planned, play
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=2)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("step", "line"),
    [
        (ProgressStep(phase="heal", text="everything"), "heal: everything"),
        (ProgressStep(phase="heal", at=4.2), "heal 4 s"),
        (
            ProgressStep(phase="faults", text="a: b", at=12.0, length_s=40.0),
            "faults 12/40 s, 28 s left: a",
        ),
        (ProgressStep(phase="faults", at=43.0, length_s=40.0), "faults 43 s"),
    ],
)
def test_a_line_has_the_phase_and_its_times(step: ProgressStep, line: str) -> None:
    assert step.line().startswith(line)


def test_phases_begin_anew() -> None:
    told: list[ProgressStep] = []
    at = iter([10.0, 10.0, 12.0, 20.0, 20.0])
    phases = PhaseProgress(told.append, lambda: next(at))
    phases.begin("before", "one", 5.0)
    phases.tell("two")
    phases.begin("after", "three")
    assert [(s.phase, s.at, s.length_s) for s in told] == [
        ("before", 0.0, 5.0),
        ("before", 2.0, 5.0),
        ("after", 0.0, None),
    ]


def test_a_run_tells_of_every_phase_and_of_time_within(world: World) -> None:
    told: list[ProgressStep] = []
    verdict, _ = play(world, planned(world, CUT + "final: {settle: 3s}\n"), progress=told.append)
    assert verdict.exit_code == 0
    phases = list(dict.fromkeys(step.phase for step in told))
    assert phases == ["before", "faults", "heal", "settle", "recover", "checks"]
    within = [step.at for step in told if step.phase == "faults"]
    assert within == sorted(within) and any(5 < at < 20 for at in within)
    assert {step.length_s for step in told if step.phase == "faults"} == {25.0}


def test_who_watches_changes_nothing() -> None:
    traces = []
    for watched in (True, False):
        world = World(hosts=2, vms=2)
        told: list[ProgressStep] = []
        show = told.append if watched else quiet
        trace = world.lab.loop.trace.hash
        verdict, _ = play(world, planned(world, CUT), trace=trace, progress=show)
        traces.append(verdict.trace_hash)
        world.close()
    assert traces[0] == traces[1]


@pytest.mark.parametrize("phase", ["before", "faults", "heal", "settle", "recover", "checks"])
def test_in_whichever_phase_it_is_interrupted_everything_is_healed(
    world: World, phase: str
) -> None:
    made = planned(world, CUT + "final: {settle: 3s}\n")
    history = History(None, world.lab.monotonic)
    verdict = world.run(_interrupted_in(phase, made, world, history))
    assert (verdict.exit_code, verdict.verdict) == (130, "interrupted")
    assert all_well(world)
    begun = [r.data["id"] for r in history.records if r.type == "fault"]
    healed = [r.data["id"] for r in history.records if r.type == "heal"]
    assert sorted(begun) == sorted(healed)
    assert len(list(records_of(map(as_written, history.records)))) == len(history.records)


async def _interrupted_in(phase: str, made: Plan, world: World, history: History) -> Verdict:
    """Cancelled at the second step of this phase, and at the next: as one who presses Ctrl-C
    again."""
    seen: list[ProgressStep] = []

    def show(step: ProgressStep) -> None:
        seen.extend([step] if step.phase == phase or seen else [])
        if len(seen) in (2, 3):
            task.cancel()

    work = run(made, world.lab, world.keeper, history, show)
    task = asyncio.get_running_loop().create_task(work)
    return await task
