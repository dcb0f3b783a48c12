"""One run of a plan from a snapshot of its lab, in a process of its own."""

from __future__ import annotations

import time
from typing import Any

import msgspec

from chaos.experiment.plan import Plan, dump_plan, load_plan
from chaos.history import as_written
from chaos.verdict import Verdict
from lab.fuzz.coverage import Coverage, collect_coverage
from lab.fuzz.finding import Failure, failures, of_exception
from lab.play.play import simulate_plan
from lab.scan import ledger
from lab.serve.session import LabSession
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import BuiltLabs
from services.runtime.forking.connection import ForkFailed

RUN = "fuzz"  # what runs are called in their histories, whatever folder they end in


class PlayedRun(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one run: its verdict, what it covered, its history when that was asked for,
    and the seconds of processor time that it took."""

    verdict: Verdict
    coverage: Coverage
    history: tuple[bytes, ...] = ()
    cpu_s: float = 0.0


def play(snapshot: BuiltLabs, plan: Plan, *, history: bool = False) -> PlayedRun:
    """Play ``plan`` from the snapshot's lab, as a run from the start would (decision 30). With a
    lab that keeps the ledger of keys the run ends with a search for them.

    Raises as ``BuiltLabs.run`` does.
    """
    answer = snapshot.run(plan.seed, _play, dump_plan(plan), history)
    return msgspec.msgpack.decode(answer, type=PlayedRun)


def failures_of(snapshot: BuiltLabs, plan: Plan) -> tuple[Failure, ...]:
    """In which ways ``plan`` fails when it is played; an exception of whatever kind that ends the
    run is one. ``ForkFailed`` when there is no lab to play in."""
    try:
        return failures(play(snapshot, plan).verdict)
    except ForkFailed:
        raise
    except Exception as error:
        return (of_exception(error),)


def _play(lab: SimLab, session: LabSession, plan: bytes, history: bool) -> bytes:
    begun = time.process_time()
    verdict, log = simulate_plan(lab, load_plan(plan), RUN, scan=ledger.kept())
    kept: Any = tuple(map(as_written, log.records)) if history else ()
    played = PlayedRun(
        verdict=verdict,
        coverage=collect_coverage(log.records, verdict),
        history=kept,
        cpu_s=time.process_time() - begun,
    )
    return msgspec.msgpack.encode(played)
