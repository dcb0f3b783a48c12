"""The truth table played, or one cell of it explained as a story; rows outside of the grid,
played.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from enum import StrEnum
from typing import Any, Final, TypeVar

from chaos.matrix.compare import CellRow
from chaos.matrix.events import EVENTS
from chaos.matrix.faults import FAULTS
from chaos.matrix.grid import BLOCKS, cells_of
from chaos.matrix.outside import ROWS
from chaos.matrix.story import lines_of
from chaos.matrix.terms import Agreement
from chaos.oracle.table import title
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.building.course import Report
from lab.local.explain import explain_id
from lab.matrix.run import (
    CELLS_FILE,
    MatrixOrder,
    at_once,
    exit_of,
    list_moved,
    play_matrix,
    play_outside,
    records_in,
    row_in,
)
from lab.runs.store import RunFolder, all_runs
from lab.schema.answers.matrix import CellStory, Matrix, Outside
from lab.schema.errors import KeysteadError
from protocol.messages.agent import TpmBackend
from protocol.printable import quote_if_needed
from services.kms.settings.config import KmsTransport
from services.knobs import faults as faults_of_knobs

E = TypeVar("E", bound=StrEnum)
MOST_JOBS: Final = 64


def matrix(
    blocks: Sequence[str],
    faults: Sequence[str],
    events: Sequence[str],
    *,
    mode: str,
    tpm: TpmBackend | None,
    seed: int,
    jobs: int,
    isolate: bool,
    variants: bool,
    report: Report,
    knobs: Mapping[str, Any] | None = None,
    transport: KmsTransport = KmsTransport.BUS,
) -> Matrix:
    """Play the cells of these blocks, faults and events; empty: all that are built. ``transport``:
    how key servers are asked. With ``knobs``, the answer says which cells these move.

    KS-USE-002 for a name that the table has not; KS-USE-003 for a number of jobs that no machine
    has, and for a knob or a value that there is not; KS-USE-004 when none of the cells applies.
    Interrupted, it answers with what was played.
    """
    _check(jobs, knobs or {})
    began = time.monotonic()
    chosen = (_members(Block, blocks), _members(TableFault, faults), _members(TableEvent, events))
    cells = cells_of(chosen[0] or BLOCKS, chosen[1] or tuple(FAULTS), chosen[2] or tuple(EVENTS))
    if not cells:
        raise KeysteadError("KS-USE-004", "the table says that none of these cells applies")
    wanted = MatrixOrder(
        cells=cells,
        mode=mode,
        tpm=tpm or (TpmBackend.MODEL if mode == "sim" else TpmBackend.LIBTPMS),
        seed=seed,
        jobs=jobs or at_once(mode),
        isolate=isolate,
        variants=variants,
        knobs=dict(knobs or {}),
        transport=transport,
    )
    folder, result = play_matrix(wanted, report)
    rows = result.cells
    counts = Counter(row.verdict for row in rows)
    return Matrix(
        run=folder.run,
        mode=mode,
        transport=transport.value,
        tpm=wanted.tpm,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        agree=counts[Agreement.AGREE],
        disagree=counts[Agreement.DISAGREE],
        void=counts[Agreement.VOID],
        exit_code=exit_of(result),
        not_played=result.not_played,
        controls=result.controls,
        knobs=wanted.knobs,
        moved=list_moved(rows) if wanted.knobs else (),
        items=rows,
    )


def _check(jobs: int, knobs: Mapping[str, Any]) -> None:
    """KS-USE-003 for a number of jobs that no machine has, and for what is no knob or no value."""
    if not 0 <= jobs <= MOST_JOBS:
        raise KeysteadError("KS-USE-003", f"--jobs {jobs}: 0 to {MOST_JOBS}")
    for name, wrong in faults_of_knobs(knobs).items():
        fix = "`keystead explain knob` lists all, with their values"
        raise KeysteadError("KS-USE-003", f"knob {quote_if_needed(name)}: {wrong}", fix)


def story(block: str, fault: str, event: str, *, run: str, report: Report) -> CellStory:
    """One cell as it was played in ``run``; without it in the last run that has it, else now.

    KS-USE-002 for a name that the table has not; KS-RUN-001 when ``run`` has no such cell.
    """
    places = (
        _members(Block, [block])[0],
        _members(TableFault, [fault])[0],
        _members(TableEvent, [event])[0],
    )
    found = _load_cell(places, run) if run else _latest(places)
    if found is None:
        one = [[str(place)] for place in places]
        made = matrix(
            *one, mode="sim", tpm=None, seed=1, jobs=0, isolate=False, variants=False, report=report
        )
        if made.not_played:
            raise KeyboardInterrupt
        found = RunFolder(made.run), made.items[0]
    folder, row = found
    return CellStory(
        block=f"{row.block}: {title(places[0])}",
        fault=_format_explanation(row.fault),
        event=_format_explanation(row.event),
        reasons={f"R{reason}": _format_explanation(f"R{reason}") for reason in row.reasons},
        cell=row,
        stagings={
            evidence.staging: tuple(lines_of(records_in(folder, evidence.staging), places[2]))
            for evidence in row.evidence
        },
    )


def _format_explanation(id: str) -> str:
    found = explain_id(id)
    return f"{id}: {found.title}"


def _latest(places: tuple[Block, TableFault, TableEvent]) -> tuple[RunFolder, CellRow] | None:
    """The last run of the matrix, with all knobs and the transport at their defaults, that has this
    cell. Runs that cannot be read are skipped."""
    for folder in reversed(all_runs()):
        with suppress(KeysteadError):
            record = folder.record()
            usual = (
                record.experiment == "matrix"
                and not record.knobs
                and record.transport == KmsTransport.BUS
            )
            if usual and (folder.path / CELLS_FILE).is_file():
                if (row := row_in(folder, *places)) is not None:
                    return folder, row
    return None


def _load_cell(places: tuple[Block, TableFault, TableEvent], run: str) -> tuple[RunFolder, CellRow]:
    folder = RunFolder(run)
    row = row_in(folder, *places)
    if row is None:
        raise KeysteadError("KS-RUN-001", f"{run} has not played {' '.join(places)}")
    return folder, row


def _members(kind: type[E], names: Iterable[str]) -> tuple[E, ...]:
    """The members of these names, in the table's order, whatever case they are written in."""
    word = {Block: "block", TableFault: "fault", TableEvent: "event"}[kind]
    known = {member.value.lower(): member for member in kind}
    for name in names:
        if name.lower() not in known:
            text = f"there is no {word} {quote_if_needed(name)}; there are"
            fix = "give one of these, in capitals or not"
            raise KeysteadError("KS-USE-002", f"{text} {', '.join(kind)}", fix)
    chosen = {known[name.lower()] for name in names}
    return tuple(member for member in kind if member in chosen)


def outside(
    rows: Sequence[str],
    *,
    mode: str,
    tpm: TpmBackend | None,
    seed: int,
    jobs: int,
    report: Report,
    transport: KmsTransport = KmsTransport.BUS,
) -> Outside:
    """Play rows X01 to X20; empty: all of them. ``transport``: how their key servers are asked.

    KS-USE-002 for a row that there is not.
    """
    began = time.monotonic()
    known = {row.id.lower(): row for row in ROWS}
    for name in rows:
        if name.lower() not in known:
            there = ", ".join(row.id for row in ROWS)
            text = f"there is no row {quote_if_needed(name)}; there are {there}"
            raise KeysteadError("KS-USE-002", text, "give one of these, in capitals or not")
    chosen = [row for key, row in known.items() if not rows or key in {n.lower() for n in rows}]
    wanted = MatrixOrder(
        cells=(),
        mode=mode,
        tpm=tpm or (TpmBackend.MODEL if mode == "sim" else TpmBackend.LIBTPMS),
        seed=seed,
        jobs=jobs or at_once(mode),
        transport=transport,
    )
    folder, result, played = play_outside(chosen, wanted, report)
    return Outside(
        run=folder.run,
        mode=mode,
        transport=transport.value,
        tpm=wanted.tpm,
        seed=seed,
        seconds=round(time.monotonic() - began, 1),
        exit_code=exit_of(result),
        not_played=result.not_played,
        items=played,
    )
