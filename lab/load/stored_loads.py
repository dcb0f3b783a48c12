"""Loads as stored runs: ``load.json`` beside what every run has, and a file of percentiles for each
operation. What a load on a key server has measured so far is in a journal in that folder, which
a ``kill -9`` leaves readable.
"""

from __future__ import annotations

import errno
import io
import os
import time
import zlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import msgspec

from chaos.experiment.plan import load_plan
from chaos.history import read_packed, until_cut
from chaos.load.arrivals import LONGEST_S, Arrivals, LoadStep, Spread, draw, read_rate
from chaos.load.histogram import decode_histogram, percentile_file
from chaos.load.planned import ALL, read_threshold
from chaos.verdict import Verdict
from lab.load.generator import INTERRUPTED, UNSENT, Generator, LoadRecord
from lab.load.report import LoadTerms, build_report
from lab.runs.load_control import runs
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    history_of,
    lock_version,
    new_run,
    python_version,
)
from lab.schema.answers.load import (
    EXIT_CODES,
    LoadChange,
    LoadComparison,
    LoadCondition,
    LoadDifference,
    LoadOperation,
    LoadReport,
)
from lab.schema.errors import KeysteadError
from lab.topology.plan import Topology

JOURNAL_FILE: Final = "load.msgpack"
_encode: Final = msgspec.msgpack.Encoder().encode


class LoadBegin(msgspec.Struct, frozen=True, kw_only=True):
    """What a load was asked to be; see ``LoadTerms``. ``steps`` are of its profile, the warm-up
    with them; ``facts`` what else is known of it."""

    target: str
    rate: str
    mix: dict[str, int]
    spread: str
    seed: int
    warmup: float
    length: float
    thresholds: tuple[str, ...]
    outstanding: int
    askers: int
    steps: tuple[tuple[float, float, float], ...]
    facts: dict[str, str]

    def arrivals(self) -> Arrivals:
        """Those that were drawn before it began."""
        profile = tuple(LoadStep(*step) for step in self.steps)
        return draw(
            profile, self.mix, askers=self.askers, seed=self.seed, spread=Spread(self.spread)
        )

    def to_request(self) -> LoadTerms:
        return LoadTerms(
            target=self.target,
            rate=self.rate,
            mix=self.mix,
            spread=Spread(self.spread),
            seed=self.seed,
            warmup=self.warmup,
            length=self.length,
            thresholds=[read_threshold(text, tuple(self.mix)) for text in self.thresholds],
            outstanding=self.outstanding,
        )


class Piece(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """What came until ``at`` seconds after the begin: of those begun since the piece before how
    late each was and whether it was held, and of those that ended its number and what came of it.
    ``errors`` and ``changes`` are those that are new."""

    at: float
    cpu_s: float
    begun: int
    offered_s: float
    late: bytes
    held: bytes
    ended: bytes
    took: bytes
    outcome: bytes
    errors: tuple[str, ...]
    changes: tuple[tuple[float, str, int], ...]


class _Frame(msgspec.Struct, frozen=True, array_like=True):
    checksum: int
    said: bytes


def _frame(value: msgspec.Struct) -> bytes:
    said = _encode(value)
    return _encode(_Frame(zlib.crc32(said), said))


def _file(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


class LoadJournal:
    """Of one load. Where it finds no room it says so once, and writes all of it when there is some
    again; the load goes on."""

    def __init__(
        self, folder: RunFolder, begun: LoadBegin, tell: Callable[[str], None] = lambda text: None
    ) -> None:
        """``OSError`` where there is no room for it to begin with."""
        self._file: io.FileIO | None = _file(folder.path / JOURNAL_FILE)
        self._tell = tell
        self._begun = self._changes = self._size = 0
        self._errors = 1
        self._owed, self._full = bytearray(_frame(begun)), False
        self._write(self._file)

    def add(
        self, of: Generator, changes: Sequence[tuple[float, str, int]], at: float, cpu_s: float
    ) -> None:
        """What has come since the last time."""
        if self._file is None:
            return
        record, ended = of.record, of.record.lately
        record.lately = array("L")
        piece = Piece(
            at=at,
            cpu_s=cpu_s,
            begun=of.begun,
            offered_s=of.offered_s,
            late=record.late[self._begun : of.begun].tobytes(),
            held=record.held[self._begun : of.begun].tobytes(),
            ended=ended.tobytes(),
            took=array("d", [record.took[n] for n in ended]).tobytes(),
            outcome=array("H", [record.outcome[n] for n in ended]).tobytes(),
            errors=tuple(record.errors[self._errors :]),
            changes=tuple(changes[self._changes :]),
        )
        self._begun, self._errors, self._changes = of.begun, len(record.errors), len(changes)
        self._owed += _frame(piece)
        try:
            self._write(self._file)
        except OSError as error:
            if not self._full:
                self._tell(f"load: what is measured is not written down: {error.strerror or error}")
            self._full = True
        else:
            if self._full:
                self._tell("load: what is measured is written again")
            self._full = False

    def _write(self, file: io.FileIO) -> None:
        """All that is owed, or nothing: half a piece would spoil what comes after it."""
        try:
            if file.write(self._owed) != len(self._owed):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError:
            with suppress(OSError):
                file.truncate(self._size)
                file.seek(self._size)
            raise
        self._size += len(self._owed)
        self._owed.clear()

    def close(self) -> None:
        """Nothing more is added."""
        file, self._file = self._file, None
        if file is not None:
            file.close()


class _Again:
    """A load as far as its journal has it; see ``LoadProgress``."""

    def __init__(self, begun: LoadBegin) -> None:
        self.asked, self.arrivals = begun.to_request(), begun.arrivals()
        self.record = LoadRecord(len(self.arrivals))
        self.begun = 0
        self.offered_s = self.at = self.cpu_s = 0.0
        self.changes: list[LoadChange] = []
        self.of, self._errors = begun, [""]

    def add(self, piece: Piece) -> None:
        for at, rate, first in piece.changes:
            redraw(self.of, self.arrivals, len(self.changes) + 1, rate, (at, first))
            self.record.anew(first, len(self.arrivals))
            self.changes.append(LoadChange(at=at, rate=rate))
        record, since = self.record, slice(self.begun, piece.begun)
        record.late[since] = array("d", piece.late)
        record.held[since] = array("B", piece.held)
        self._errors += piece.errors
        columns = array("L", piece.ended), array("d", piece.took), array("H", piece.outcome)
        for number, took, outcome in zip(*columns, strict=True):
            record.end(number, took, self._errors[outcome])
        self.begun, self.offered_s = piece.begun, piece.offered_s
        self.at, self.cpu_s = piece.at, piece.cpu_s

    def ends(self) -> None:
        """What was under way has no answer."""
        for number, at in enumerate(self.arrivals.at):
            if self.record.took[number] < 0 and at <= self.at:
                error = INTERRUPTED if number < self.begun else UNSENT
                self.record.end(number, self.at - at, error)


def rest_of(begun: LoadBegin, nth: int, rate: float, seconds: float) -> Arrivals:
    """What is offered from the ``nth`` change of the rate on, which is drawn from the seed too."""
    return draw(
        (LoadStep(rate, rate, seconds),) if rate else (),
        begun.mix,
        askers=begun.askers,
        seed=begun.seed,
        spread=Spread(begun.spread),
        name=f"load/{nth}",
    )


def redraw(
    begun: LoadBegin, arrivals: Arrivals, nth: int, rate: str, place: tuple[float, int]
) -> None:
    """Have ``arrivals`` be as the ``nth`` change made them, at this time and from this number."""
    at, first = place
    until = begun.warmup + begun.length
    arrivals.anew(first, rest_of(begun, nth, read_rate(rate), until - at), at, until)


def recover_report(folder: RunFolder, ended: str) -> LoadReport | None:
    """What a load had measured that was not kept in the end, with a word on why it ``ended``; None
    where there is nothing of one. KS-RUN-004 for a journal that is not what was written."""
    if not (folder.path / JOURNAL_FILE).is_file():
        return None
    again = folder.read_decoded(JOURNAL_FILE, _read)
    if again is None:
        return None
    again.ends()
    report = build_report(
        again.asked,
        again.arrivals,
        again,
        ended_s=again.at,
        cpu_s=again.cpu_s,
        interrupted=True,
        facts={**again.of.facts, "ended": ended},
        changes=again.changes,
    )
    return msgspec.structs.replace(report, run=folder.run)


def _read(data: bytes) -> _Again | None:
    """None of one that was killed before its begin was written."""
    frames = _frames(data)
    begun = next(frames, None)
    if begun is None:
        return None
    again = _Again(msgspec.msgpack.decode(begun, type=LoadBegin))
    for frame in frames:
        again.add(msgspec.msgpack.decode(frame, type=Piece))
    return again


def forget(folder: RunFolder) -> None:
    """The load has been kept in another way."""
    with suppress(OSError):
        os.unlink(folder.path / JOURNAL_FILE)


def _frames(data: bytes) -> Iterator[bytes]:
    """What each frame says, the last one only when it is whole."""
    for number, packed_ in enumerate(read_packed(io.BytesIO(data), whole=False), 1):
        frame = msgspec.msgpack.decode(packed_, type=_Frame)
        if zlib.crc32(frame.said) != frame.checksum:
            raise msgspec.ValidationError(f"frame {number} is not as it was written")
        yield frame.said


LOAD: Final = "load"
"""The experiment that a run names which is a load on something that is no lab."""
LOAD_MODE: Final = "kmip"
"""The mode of such a run."""
LOAD_FILE: Final = "load.json"
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
    folder.write(LOAD_FILE, _json(report))
    for item in report.items:
        if item.p50_ms is not None:
            folder.write(
                f"{item.operation}.hgrm", percentile_file(decode_histogram(item.histogram))
            )


def of_run(folder: RunFolder) -> LoadReport | None:
    """The load of an experiment's run, to be written beside it; None when it has none. Errors as
    ``RunFolder.decoded``, and KS-CHAOS-204 for a history that is not what was written."""
    from lab.load.experiment_loads import load_report

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
    if (folder.path / LOAD_FILE).is_file():
        return folder.read_decoded(LOAD_FILE, _whole)
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
