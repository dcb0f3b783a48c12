"""A stored run of the matrix: what it is, and whether its histories bear out what it says.

Its histories are looked through as they were written: each is whole, each cell's evidence stands
in them, and the letters that were written down there give the letter of the cell.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from chaos.checks.result import CheckOutcome
from chaos.history import Record
from chaos.matrix.compare import CellRow, letter_of
from chaos.matrix.grid import stagings_of
from chaos.matrix.outside import all_stagings
from chaos.matrix.play import LETTERS, PlayedEvent
from chaos.matrix.terms import Agreement
from chaos.oracle.table import cell
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.local.stored.run_description import description
from lab.matrix.run import Result, records_in, result_of, stagings_in
from lab.runs.store import RunFolder, RunRecord
from lab.schema.answers.local import CheckedRun, JudgedCheck, RunDescription
from lab.schema.errors import KeysteadError

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
