"""Descriptions of stored runs, whatever has made them: an experiment, a load, the crash sweep, the
matrix; and whether the histories of a matrix bear out what it says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from chaos.checks.result import CheckOutcome
from chaos.history import Record, until_cut
from chaos.matrix.compare import CellRow, letter_of
from chaos.matrix.grid import stagings_of
from chaos.matrix.outside import all_stagings
from chaos.matrix.play import LETTERS, PlayedEvent
from chaos.matrix.terms import Agreement
from chaos.oracle.table import cell
from chaos.oracle.terms import Block, TableEvent, TableFault
from chaos.verdict import Verdict
from lab.load.stored_loads import LOAD_MODE, find_report, is_load, nothing_of
from lab.matrix.run import Result, records_in, result_of, stagings_in
from lab.runs.store import RunFolder, RunRecord
from lab.schema.answers.experiments import Sweep
from lab.schema.answers.load import LoadReport
from lab.schema.answers.local import CheckedRun, FaultInterval, JudgedCheck, RunDescription
from lab.schema.errors import KeysteadError

ENDED = "ended"


def description(
    folder: RunFolder,
    record: RunRecord,
    *,
    title: str,
    seconds: float | None,
    verdict: Verdict | None,
    problem: str,
    records: int,
    examples: tuple[str, ...],
    replay_of: str = "",
    hosts: int = 0,
    vms: int = 0,
    faults: tuple[FaultInterval, ...] = (),
) -> RunDescription:
    """The run's own facts with what its maker knows; see ``RunDescription``."""
    return RunDescription(
        run=folder.run,
        experiment=record.experiment,
        title=title,
        mode=record.mode,
        seed=record.seed,
        tpm=record.tpm_text,
        code=record.code,
        python=record.python,
        began=record.began,
        replay_of=replay_of,
        fork_of=record.fork_of,
        fork_at=record.fork_at,
        hosts=hosts,
        vms=vms,
        seconds=seconds,
        faults=faults,
        verdict=verdict,
        state=ENDED if verdict is not None else folder.word(),
        problem=problem,
        records=records,
        folder=str(folder.path),
        examples=examples,
    )


def describe_load(folder: RunFolder, record: RunRecord) -> RunDescription | None:
    """What a load was; None for one on a lab that has measured nothing, of which its plan tells.
    KS-RUN-004 for damaged figures."""
    made = find_report(folder)
    if made is None and not is_load(record):
        return None
    if made is None:
        title, seconds, problem = f"a load ({LOAD_MODE})", None, nothing_of(folder)
        examples: tuple[str, ...] = ()
    else:
        every = made.items[-1]
        title = f"{made.rate} at {made.target}: {every.ok} of {every.offered} operations went well"
        seconds, problem = made.warmup + made.seconds, _problem(made)
        run = folder.run
        examples = (f"keystead report {run}", f"keystead load compare {run} OTHER")
    return description(
        folder,
        record,
        title=title,
        seconds=seconds,
        verdict=folder.verdict(),
        problem=problem,
        records=len(until_cut(folder.history)) if folder.history.is_file() else 0,
        examples=examples,
    )


def _problem(made: LoadReport) -> str:
    ended = made.facts.get("ended", "")
    saturated = "the generator was saturated" if made.generator.saturated else ""
    return "; ".join(filter(None, (ended, saturated)))


SWEEP: Final = "sweep"
"""The experiment that a sweep's run names."""


def describe_sweep(folder: RunFolder, record: RunRecord) -> RunDescription:
    """What a sweep's run was; KS-RUN-001 for one without its answer, KS-RUN-004 for a damaged
    one."""
    made = folder.read_decoded("sweep.json", msgspec.json.Decoder(Sweep).decode)
    wrong = "none" if not made.items else str(len(made.items))
    return description(
        folder,
        record,
        title=f"the crash sweep, {made.plays} plays of {made.points} points: {wrong} broke a rule",
        seconds=made.seconds,
        verdict=folder.verdict(),
        problem="; ".join(point.point for point in made.items),
        records=0,
        examples=tuple(point.again for point in made.items)
        or (f"keystead chaos sweep --tpm {made.tpm} --seed {made.seed}",),
    )


Histories = Mapping[str, Sequence[Record]]


def describe_matrix_run(folder: RunFolder, record: RunRecord) -> RunDescription:
    """What was played in it; one that was killed has only histories."""
    problem, verdict = "", folder.verdict()
    cells: tuple[CellRow, ...] = ()
    try:
        cells = result_of(folder).cells
    except KeysteadError as error:
        problem = str(error)
    histories, broken = _histories(folder)
    return description(
        folder,
        record,
        title=_title(cells),
        seconds=None if verdict is None else round(verdict.ended, 1),
        verdict=verdict,
        problem=problem or "; ".join(broken),
        records=sum(len(records) for records in histories.values()),
        examples=(f"keystead check {folder.run}", *_stories(folder.run, cells)),
    )


def _title(cells: Sequence[CellRow]) -> str:
    counts = Counter(row.verdict for row in cells)
    told = ", ".join(f"{counts[one]} {one}" for one in Agreement)
    outside = {one.staging for row in cells for one in row.evidence} & {
        one.name for one in all_stagings()
    }
    what = "rows outside of the truth table" if outside else "the truth table"
    return f"{what}, {len(cells)} cells: {told}"


def _stories(run: str, cells: Sequence[CellRow]) -> Iterator[str]:
    """How to read a cell: one that does not agree, if there is one."""
    wrong = [row for row in cells if row.verdict is not Agreement.AGREE]
    for row in (wrong or list(cells))[:1]:
        yield f"keystead matrix explain {row.block} {row.fault} {row.event} --run {run}"


def judge_run(folder: RunFolder) -> CheckedRun:
    """The run judged by what its histories hold. KS-RUN-001 when it has no cells."""
    found = result_of(folder)
    histories, broken = _histories(folder)
    seen = {
        "histories_whole": broken,
        "evidence_is_there": list(_not_there(found, histories)),
        "letters_as_written": list(_otherwise(found, histories)),
    }
    items = tuple(_check(name, wrong, histories) for name, wrong in seen.items())
    worst = CheckOutcome.FAIL if any(seen.values()) else _as_it_ended(found)
    return CheckedRun(run=folder.run, verdict=worst, items=items)


def _check(name: str, wrong: Sequence[str], histories: Histories) -> JudgedCheck:
    records = sum(len(one) for one in histories.values())
    return JudgedCheck(
        check=name,
        invariant="",
        result=CheckOutcome.FAIL if wrong else CheckOutcome.PASS,
        text="; ".join(wrong[:3]) or f"{records} records of {len(histories)} stagings",
        records=(),
    )


def _as_it_ended(found: Result) -> CheckOutcome:
    """The verdict of the cells themselves."""
    verdicts = {row.verdict for row in found.cells}
    if Agreement.DISAGREE in verdicts or not all(one.held for one in found.controls):
        return CheckOutcome.FAIL
    void = Agreement.VOID in verdicts or found.not_played
    return CheckOutcome.UNKNOWN if void else CheckOutcome.PASS


def _histories(folder: RunFolder) -> tuple[Histories, list[str]]:
    """Every history, each record verified, and what is wrong with those that are not whole."""
    whole: dict[str, Sequence[Record]] = {}
    broken: list[str] = []
    for staging in stagings_in(folder):
        try:
            whole[staging] = records_in(folder, staging)
        except KeysteadError as error:
            broken.append(f"{staging}: {error}")
    return whole, broken


def _not_there(found: Result, histories: Histories) -> Iterator[str]:
    """Records that a cell rests on, and that are not there or are about another event."""
    for row in found.cells:
        for evidence in row.evidence:
            records = histories.get(evidence.staging, ())
            mine = {one.seq for one in records if one.data.get("event") == row.event}
            if lost := set(evidence.records) - mine:
                yield f"{_name(row)}: no record {min(lost)} about it in {evidence.staging}"


def _otherwise(found: Result, histories: Histories) -> Iterator[str]:
    """Cells whose letter is not that of the histories, or not compared with the table's."""
    for row in found.cells:
        if row.verdict is Agreement.VOID:
            continue
        place = Block(row.block), TableFault(row.fault), TableEvent(row.event)
        expected = cell(*place)
        named = {one.staging for one in row.evidence}
        together = (*stagings_of([expected]), *stagings_of([expected], isolate=True))
        if outside := [one for one in all_stagings() if one.name in named]:
            together = tuple(outside)
            expected = outside[0].cell_of(place[2])
        plays = [
            (staging, _read_letters(histories.get(staging.name, ()), place[2]))
            for staging in together
            if staging.name in named
        ]
        letter = letter_of(plays)[0] if plays else ""
        if letter != row.observed:
            yield f"{_name(row)}: {row.observed}, and its histories say {letter or 'nothing'}"
        elif row.verdict is Agreement.AGREE and letter != expected.letter:
            yield f"{_name(row)}: {letter} agrees, and the table says {expected.letter}"


def _read_letters(records: Sequence[Record], event: TableEvent) -> PlayedEvent:
    letters = next((one.data for one in reversed(records) if one.op == LETTERS), {})
    return PlayedEvent(event=event, letter=str(letters.get(event, "")))


def _name(row: CellRow) -> str:
    return f"{row.block} {row.fault} {row.event}"
