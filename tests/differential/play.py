"""Plays schedules, the matrix and the shipped experiments with the code of this tree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

import msgspec

from chaos.experiment.plan import dump_plan, load_plan
from chaos.experiment.random_runs import random_plan
from chaos.verdict import Verdict
from lab.fuzz.world import CampaignWorld, draw_lab, number_of
from lab.local.matrix import matrix
from lab.play.play import simulate_plan
from lab.play.prepare import list_shipped
from lab.schema.commands import Command, GetHosts, GetProviders, GetVms
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import BuiltLabs
from services.runtime.sim.runner import run_in_worker
from tests.mutations.play import run_experiment, shared_server

PARTS = ("schedules", "matrix", "experiments")
SHOWN: dict[Command[Any], tuple[str, ...]] = {
    GetVms(): ("power", "connection", "crypto", "alarms", "template"),
    GetHosts(): ("connection", "crypto_state", "machine", "key_persistence", "alarms"),
    GetProviders(): ("status", "unreachable", "default"),
}
"""What of the end state must be the same: times, key ids and counts follow the order of events."""


class Schedule(msgspec.Struct, frozen=True, kw_only=True):
    """A random plan and the lab that it was drawn for."""

    seed: int
    world: CampaignWorld
    plan: bytes


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one play. ``seen`` has what must be the same in both trees, by name: verdicts of
    checks, letters of cells, the end state of the lab."""

    part: str
    name: str
    seen: dict[str, str]
    trace: str = ""


def draw(count: int, first: int) -> Iterator[Schedule]:
    """Of the seeds from ``first``; their labs are of all flavours."""
    for seed in range(first, first + count):
        world = draw_lab(CampaignWorld(drawn=True), number_of(seed))
        plan = random_plan(world.directory(), seed, world.mix, topology=world.use)
        yield Schedule(seed=seed, world=world, plan=dump_plan(plan))


def play_schedules(schedules: Iterable[Schedule]) -> Iterator[Outcome]:
    labs = {schedule.world.describe_lab(): schedule.world for schedule in schedules}
    by_lab = sorted(schedules, key=lambda schedule: schedule.world.describe_lab())
    for lab, some in groupby(by_lab, key=lambda schedule: schedule.world.describe_lab()):
        with BuiltLabs(labs[lab].origin()) as snapshot:
            for schedule in some:
                name = f"{lab}, seed {schedule.seed}"
                try:
                    played = snapshot.run(schedule.seed, _play, schedule.plan)
                    yield msgspec.structs.replace(
                        msgspec.msgpack.decode(played, type=Outcome), name=name
                    )
                except Exception as error:  # an end like any other: the other tree may share it
                    raised = str(error).strip().rpartition("\n")[2] or type(error).__name__
                    yield Outcome(part="schedules", name=name, seen={"raised": raised})


def _play(lab: SimLab, session: LabSession, plan: bytes) -> bytes:
    verdict, _ = simulate_plan(lab, load_plan(plan), "differential")
    seen = _judged(verdict)
    for command, fields in SHOWN.items():
        seen |= lab.run(_read_state(session, command, fields))
    outcome = Outcome(part="schedules", name="", seen=seen, trace=verdict.trace_hash)
    return msgspec.msgpack.encode(outcome)


async def _read_state(
    session: LabSession, command: Command[Any], fields: tuple[str, ...]
) -> dict[str, str]:
    """By the name of each object: ``fields`` of it. VMs of the workload come and go."""
    try:
        answer = await perform(session, command)
    except Exception as error:
        return {type(command).__name__: str(error)}
    found = {}
    for item in answer.items:
        name = str(getattr(item, item.__struct_fields__[0]))
        if not name.startswith("load-"):
            found[name] = " ".join(str(getattr(item, field)) for field in fields)
    return found


def _judged(verdict: Verdict) -> dict[str, str]:
    return {"verdict": verdict.verdict} | {
        check.name: check.result.value for check in verdict.checks
    }


def play_matrix() -> Iterator[Outcome]:
    found = matrix(
        (), (), (), mode="sim", tpm=None, seed=1, jobs=1, isolate=False, variants=False,
        report=lambda *_: None,
    )  # fmt: skip
    for row in found.items:
        seen = {"letter": row.observed, "verdict": row.verdict.value}
        yield Outcome(part="matrix", name=f"{row.block} {row.fault} {row.event}", seen=seen)


def play_experiments() -> Iterator[Outcome]:
    for path in list_shipped():
        verdict = run_in_worker(run_experiment, "", path.stem, None, {}, server=shared_server())
        yield Outcome(
            part="experiments", name=path.stem, seen=_judged(verdict), trace=verdict.trace_hash
        )
