"""Loads as stored runs: ``load.json`` beside what every run has, and a file of percentiles for each
operation."""

from __future__ import annotations

import time
from typing import Any, Final

import msgspec

from chaos.experiment.plan import load_plan
from chaos.history import until_cut
from chaos.load.histogram import decode_histogram, percentile_file
from chaos.load.profile import LONGEST_S
from chaos.load.threshold import ALL
from chaos.verdict import Verdict
from lab.load.journal import forget, recover_report
from lab.runs.load_control import runs
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    lock_version,
    new_run,
    python_version,
)
from lab.schema.answers.load import (
    EXIT_CODES,
    LoadComparison,
    LoadCondition,
    LoadDifference,
    LoadOperation,
    LoadReport,
)
from lab.schema.errors import KeysteadError
from lab.topology.plan import Topology

LOAD: Final = "load"
"""The experiment that a run names which is a load on something that is no lab."""
LOAD_MODE: Final = "kmip"
"""The mode of such a run."""
FILE: Final = "load.json"
BROKEN_OFF: Final = (
    "broken off: its process was killed, its machine went down, or its disk was full"
)
RUNNING: Final = "not yet: it runs"
NOT_YET: Final = "it has not begun yet: its keys are being made"
NEVER: Final = "nothing of it was kept: it was killed before it began, or its disk was full"


def begin(seed: int) -> RunFolder:
    """The folder of a load that is about to begin; KS-LAB-005 when there is no room for it."""
    folder = new_run(LOAD, LOAD_MODE, seed)
    record = RunRecord(
        run=folder.run,
        experiment=LOAD,
        mode=LOAD_MODE,
        seed=seed,
        code=code_version(),
        python=python_version(),
        lock=lock_version(),
        began=time.time(),
    )
    try:
        folder.write("run.json", _json(record))
    except KeysteadError:
        folder.remove()
        raise
    return folder


def keep(report: LoadReport, folder: RunFolder) -> LoadReport:
    """The same with the name of its run. KS-LAB-005 when there is no room for it: what its journal
    has of it stays then."""
    made = msgspec.structs.replace(report, run=folder.run)
    verdict = Verdict(
        verdict=made.verdict,
        exit_code=EXIT_CODES[made.verdict],
        seed=made.seed,
        trace_hash="",
        run=folder.run,
        checks=(),
        reasons=tuple(
            f"{one.threshold}: measured {one.value}" for one in made.thresholds if not one.holds
        ),
        ended=made.warmup + made.seconds,
    )
    write(folder, made)
    folder.end(verdict)
    forget(folder)
    return made


def write(folder: RunFolder, report: LoadReport) -> None:
    """The load of a run, and percentiles of each operation that has any."""
    folder.write(FILE, _json(report))
    for item in report.items:
        if item.p50_ms is not None:
            folder.write(
                f"{item.operation}.hgrm", percentile_file(decode_histogram(item.histogram))
            )


def of_run(folder: RunFolder) -> LoadReport | None:
    """The load of an experiment's run, to be written beside it; None when it has none. Errors as
    ``RunFolder.decoded``, and KS-CHAOS-204 for a history that is not what was written."""
    from lab.load.of_run import load_report
    from lab.runs.store import history_of

    plan = folder.read_decoded("plan.json", load_plan)
    if plan.load is None:
        return None
    record = folder.record()
    topology = folder.read_decoded("topology.msgpack", msgspec.msgpack.Decoder(Topology).decode)
    pace = topology.pace if record.mode == "lab" else 1.0
    verdict = folder.verdict()
    records = until_cut(folder.history) if verdict is None else history_of(folder)
    made = load_report(record, plan, records, verdict, pace=pace)
    return None if made is None else msgspec.structs.replace(made, run=folder.run)


def load_of(run: str) -> LoadReport:
    """A stored load, or what is there of one that did not come to its end; KS-RUN-001 when there is
    no such run, it is none, or it has measured nothing, KS-RUN-004 for a damaged file."""
    folder = RunFolder(run)
    found = find_report(folder)
    if found is None:
        raise KeysteadError("KS-RUN-001", f"the run {run}: {nothing_of(folder)}")
    return found


def find_report(folder: RunFolder) -> LoadReport | None:
    """As ``load_of``; None where there is nothing of one."""
    record = folder.record()
    if (folder.path / FILE).is_file():
        return folder.read_decoded(FILE, _whole)
    return _find_unfinished(folder, record)


def is_load(record: RunRecord) -> bool:
    """Whether a run is a load on something that is no lab: it has figures, and no history."""
    return record.experiment == LOAD and record.mode == LOAD_MODE


def nothing_of(folder: RunFolder) -> str:
    """Why there is nothing of a load in a run."""
    if is_load(folder.record()):
        return NOT_YET if runs(folder) else NEVER
    plan = folder.path / "plan.json"
    if plan.is_file() and folder.read_decoded("plan.json", load_plan).load is None:
        return "its experiment offers no load"
    return NEVER


def _find_unfinished(folder: RunFolder, record: RunRecord) -> LoadReport | None:
    """What is there of a load whose figures were not kept; None where there is nothing."""
    if is_load(record):
        return recover_report(folder, RUNNING if runs(folder) else BROKEN_OFF)
    if not all((folder.path / name).is_file() for name in ("plan.json", "history.msgpack")):
        return None
    return of_run(folder)


def _whole(data: bytes) -> LoadReport:
    """``msgspec.ValidationError`` for one that nobody wrote: it can be told and drawn else."""
    made = msgspec.json.Decoder(LoadReport).decode(data)
    if not made.items or made.items[-1].operation != ALL:
        raise msgspec.ValidationError("the figures of all operations are not in it")
    for item in made.items:
        try:
            decode_histogram(item.histogram)
        except Exception as error:  # the library has no error of its own for it
            text = f"the histogram of {item.operation}: {error}"
            raise msgspec.ValidationError(text) from None
    whole = made.warmup + made.seconds
    if made.warmup < 0 or not made.warmup <= whole <= 2 * LONGEST_S:
        raise msgspec.ValidationError(f"it lasts {whole:g} s")
    if any(not 0 <= one.at <= whole for one in made.moments):
        raise msgspec.ValidationError("a moment of it lies elsewhere")
    return made


def compare_loads(a: LoadReport, b: LoadReport) -> LoadComparison:
    """The first load beside the second; KS-USE-003 for a load beside itself."""
    if a.run == b.run:
        raise KeysteadError("KS-USE-003", f"{a.run}: two different runs are laid side by side")
    mine, other = ({item.operation: item for item in report.items} for report in (a, b))
    names = dict.fromkeys((*mine, *other))
    names["all"] = names.pop("all", None)
    return LoadComparison(
        a=a.run,
        b=b.run,
        conditions=tuple(
            LoadCondition(what=what, a=one, b=two)
            for what, one, two in _conditions(a, b)
            if one != two
        ),
        items=tuple(_difference(name, mine.get(name), other.get(name)) for name in names),
    )


def _conditions(a: LoadReport, b: LoadReport) -> list[tuple[str, str, str]]:
    told = [
        {
            "target": report.target,
            "rate": report.rate,
            "mix": ", ".join(f"{name}:{weight}" for name, weight in report.mix.items()),
            "arrivals": report.spread,
            "seed": str(report.seed),
            "warmup": f"{report.warmup:g} s",
            "seconds": f"{report.seconds:g}",
            "outstanding": str(report.generator.outstanding),
            "changed": ", ".join(f"to {c.rate} at {c.at:g} s" for c in report.changes) or "no",
            "ended": report.facts.get("ended", "in its time").partition(":")[0],
            "saturated": "yes" if report.generator.saturated else "no",
            **{
                name: report.facts[name]
                for name in ("vcenters", "connection")
                if name in report.facts
            },
        }
        for report in (a, b)
    ]
    return [
        (what, told[0].get(what, "-"), told[1].get(what, "-")) for what in {**told[0], **told[1]}
    ]


def _difference(name: str, a: LoadOperation | None, b: LoadOperation | None) -> LoadDifference:
    p99_a, p99_b = (None if one is None else one.p99_ms for one in (a, b))
    return LoadDifference(
        operation=name,
        a_ok_per_s=None if a is None else a.ok_per_s,
        b_ok_per_s=None if b is None else b.ok_per_s,
        a_failed=None if a is None else a.failed,
        b_failed=None if b is None else b.failed,
        a_p50_ms=None if a is None else a.p50_ms,
        b_p50_ms=None if b is None else b.p50_ms,
        a_p99_ms=p99_a,
        b_p99_ms=p99_b,
        p99_ratio=round(p99_b / p99_a, 3) if p99_a and p99_b is not None else None,
    )


def _json(value: Any) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value))
