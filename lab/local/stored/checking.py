"""The checks of a stored run once more, on its history alone."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from chaos.checks import CHECKS, checks_excused, judge
from chaos.checks.result import CheckOutcome, CheckResult
from chaos.checks.scene import scene_of
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, load_plan
from chaos.history import Record
from lab.local.stored.matrix_runs import judge_run
from lab.matrix.outside import OUTSIDE
from lab.matrix.run import MATRIX
from lab.play.prepare import list_shipped
from lab.runs.store import RunFolder, RunRecord, history_of
from lab.schema.answers.local import CheckedRun, JudgedCheck
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal


def check(run: str, names: Sequence[str] = ()) -> CheckedRun:
    """Judge the history of ``run`` by the checks ``names``, or by those that judged it then; a run
    of the matrix by its own.

    KS-RUN-001 for a run that is not there, KS-USE-002 for a name that is no check, KS-CHAOS-204
    for a history that is not what was written.
    """
    for name in names:
        if name not in CHECKS:
            known = ", ".join(CHECKS)
            raise KeysteadError("KS-USE-002", f"no check is called {name}; there are: {known}")
    folder = RunFolder(run)
    record = folder.record()
    if record.experiment in (MATRIX, OUTSIDE):
        if names:
            text = f"{run} is a run of the matrix, which has checks of its own"
            raise KeysteadError("KS-USE-002", text, "leave --only out")
        return judge_run(folder)
    plan = folder.read_decoded("plan.json", load_plan)
    records = history_of(folder)
    results = tuple(_result(name, records) for name in names or plan.checks)
    items = tuple(_build_check(result, records, record) for result in results)
    ended = folder.verdict()
    return CheckedRun(
        run=run,
        verdict=_verdict(results, plan),
        ended="" if ended is None else ended.verdict,
        items=items,
    )


def _result(name: str, records: Sequence[Record]) -> CheckResult:
    """KS-CHAOS-204 for records that are well chained and not as this version writes them."""
    try:
        return judge((name,), records)[0]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        text = f"{name} cannot read its records: {type(error).__name__}: {error}"
        raise refusal(ChaosError("KS-CHAOS-204", text)) from None


def reproduce(record: RunRecord) -> str:
    """The command that shows the same again: exactly in the simulation, the same faults in a lab
    of real processes."""
    if record.mode == "sim":
        return f"keystead chaos replay {record.run}"
    again = (*record.options, *(("--scan",) if record.scan else ()))
    words = ("keystead", "chaos", "run", _file_of(record), "--mode", record.mode)
    return shlex.join((*words, "--seed", str(record.seed), *again))


def _file_of(record: RunRecord) -> str:
    """The name of a shipped experiment that is as it was, else the run's own copy of its file."""
    copy = RunFolder(record.run).path / "experiment.yaml"
    for path in list_shipped():
        if path.stem == record.experiment and path.read_bytes() == _bytes(copy):
            return record.experiment
    return str(copy)


def _bytes(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _build_check(result: CheckResult, records: Sequence[Record], record: RunRecord) -> JudgedCheck:
    return JudgedCheck(
        check=result.name,
        invariant=CHECKS[result.name].invariant,
        result=result.result,
        text=result.text,
        records=result.records,
        scene=scene_of(result, records),
        reproduce=reproduce(record) if result.result is CheckOutcome.FAIL else "",
    )


def _verdict(results: Sequence[CheckResult], plan: Plan) -> CheckOutcome:
    """The worst that counts, as the verdict of a run has it."""
    may_be = checks_excused(faulted=plan.surely_faulty())
    if any(r.result is CheckOutcome.FAIL for r in results):
        return CheckOutcome.FAIL
    if any(r.result is CheckOutcome.UNKNOWN and r.name not in may_be for r in results):
        return CheckOutcome.UNKNOWN
    return CheckOutcome.PASS
