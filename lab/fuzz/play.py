"""One run of a plan from a snapshot of its lab, in a process of its own; what is wrong with it, so
that another run can be recognized as wrong in the same way; and what a campaign has tried and
what not.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from chaos.checks import CHECKS
from chaos.checks.result import CheckOutcome
from chaos.experiment.plan import Plan, dump_plan, load_plan
from chaos.faults import FAULTS
from chaos.history import ActiveFaults, Record, as_written
from chaos.verdict import Exit, Verdict
from chaos.workload import OPERATIONS
from lab.play.play import simulate_plan
from lab.scan import ledger
from lab.serve.session import LabSession
from lab.simulation.sim_lab import SimLab
from lab.simulation.snapshot import BuiltLabs
from services.runtime.forking.connection import ForkFailed

_ID = re.compile(r"KS-[A-Z]+-\d+")


class Failure(msgspec.Struct, frozen=True, order=True):
    """``kind``: ``check`` (a check or hypothesis failed), ``harness``, ``crash`` (an exception
    that nobody took, or the end of the run's process), ``slow`` (it did not end) or ``replay``
    (the same seed gave another run). ``name``: of the check, or the id of the error."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.name}" if self.name else self.kind


LEAK: Final = Failure("check", "no_plaintext_key")
"""Found only where the run ends with a search for keys."""


def failures(verdict: Verdict) -> tuple[Failure, ...]:
    """Each way in which a run failed, in the order in which it was judged; none when it passed.

    A run that could not judge something is no failure of what was tested.
    """
    if verdict.exit_code in (Exit.PASS, Exit.UNKNOWN):
        return ()
    failed = [c.name for c in verdict.checks if c.result is CheckOutcome.FAIL]
    if failed:
        return tuple(Failure("check", name) for name in dict.fromkeys(failed))
    ids = [found[0] for reason in verdict.reasons if (found := _ID.search(reason))]
    return tuple(Failure("harness", id) for id in dict.fromkeys(ids)) or (
        Failure("harness", verdict.verdict),
    )


def of_exception(error: BaseException) -> Failure:
    """The failure of a run that came to no verdict."""
    if isinstance(error, TimeoutError):
        return Failure("slow", "")
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return Failure("crash", type(error).__name__)


Counts = dict[str, int]


class Coverage(msgspec.Struct, kw_only=True):
    """How often each was there, by name: ``faults`` that were seen to bite, ``missed`` ones,
    operations by how they ended (``ok vm.encrypt``), checks by what they came to, and faults that
    were active while an operation ended (``link.cut x key.create``)."""

    faults: Counts = {}
    missed: Counts = {}
    operations: Counts = {}
    checks: Counts = {}
    pairs: Counts = {}

    def add(self, other: Coverage) -> None:
        """Count another run's too."""
        for name in self.__struct_fields__:
            mine, more = getattr(self, name), getattr(other, name)
            setattr(self, name, dict(Counter(mine) + Counter(more)))

    def list_untried(self) -> dict[str, tuple[str, ...]]:
        """What no run had, of all that there is."""
        checks = {name.split(" ", 1)[1] for name in self.checks if not name.startswith("unknown")}
        ends = {name.split(" ", 1)[1] for name in self.operations}
        pairs = {
            f"{fault.kind} x {op}" for fault in FAULTS for op in OPERATIONS if fault.reversible
        }
        return {
            "faults": _missing((fault.kind for fault in FAULTS), self.faults),
            "operations": _missing(OPERATIONS, ends),
            "checks": _missing((c.name for c in CHECKS.values() if c.always), checks),
            "pairs": _missing(sorted(pairs), self.pairs),
        }


def _missing(there: Iterable[str], seen: Mapping[str, int] | set[str]) -> tuple[str, ...]:
    return tuple(name for name in there if name not in seen)


def collect_coverage(records: Iterable[Record], verdict: Verdict) -> Coverage:
    """What one run has tried."""
    faults: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    active = ActiveFaults()
    for record in records:
        active.take(record)
        match record.type:
            case "fault" if "error" not in record.data:
                faults[record.op] += 1
            case "note" if record.op == "missed":
                missed[str(record.data.get("fault"))] += 1
            case "ok" | "fail" | "info" if record.op in OPERATIONS:
                operations[f"{record.type} {record.op}"] += 1
                kinds = {begin.op for _, begin in active.bite()}
                pairs.update(f"{kind} x {record.op}" for kind in kinds)
    checks = Counter(f"{c.result} {c.name}" for c in verdict.checks if c.name in CHECKS)
    return Coverage(
        faults=dict(faults),
        missed=dict(missed),
        operations=dict(operations),
        checks=dict(checks),
        pairs=dict(pairs),
    )


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
