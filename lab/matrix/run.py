"""A run of the matrix: its stagings played, its cells compared, everything kept in a folder.

``runs/<run>/``: ``run.json``, a history per staging in ``stagings/``, ``matrix.json`` with every
cell, ``result.json`` with the verdict.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import closing
from io import BytesIO
from itertools import count
from typing import Final, Protocol

import msgspec

from chaos.history import Record, records_of
from chaos.matrix.compare import CellRow, row_of
from chaos.matrix.control import Control
from chaos.matrix.grid import Staging, controls_of, stagings_of
from chaos.matrix.play import Played
from chaos.matrix.terms import Agreement
from chaos.oracle.table import Cell
from chaos.oracle.terms import Block, Event, Fault
from chaos.recording import packed
from chaos.verdict import WORDS, Exit
from chaos.verdict import Verdict as RunVerdict
from lab.matrix.outcome import Done, Outcome
from lab.matrix.real import AT_ONCE, Processes
from lab.matrix.sim import Stages
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    lock_version,
    new_run,
    python_version,
)
from lab.topology.course import Report
from protocol.messages.agent import TpmBackend

ROWS: Final = "matrix.json"
STAGINGS: Final = "stagings"


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be played: ``jobs`` stagings at once; with ``isolate`` each event alone."""

    cells: tuple[Cell, ...]
    mode: str
    tpm: TpmBackend
    seed: int
    jobs: int
    isolate: bool = False
    patch: str = ""


class Result(msgspec.Struct, frozen=True):
    """The cells in the order in which they were wanted; the negative controls of their blocks."""

    cells: tuple[CellRow, ...]
    controls: tuple[Control, ...] = ()


def play_matrix(wanted: Wanted, report: Report) -> tuple[RunFolder, Result]:
    """Play it all; blocks."""
    folder = _begin(wanted)
    began = time.time()
    with closing(_player(wanted)) as player:
        result = _Work(wanted, folder, player, report).play_all()
    folder.write(ROWS, msgspec.json.format(msgspec.json.encode(result)))
    verdict = verdict_of(result, folder.run, wanted, time.time() - began)
    folder.write("result.json", msgspec.json.format(msgspec.json.encode(verdict)))
    return folder, result


class Player(Protocol):
    """Plays stagings, in one of the two modes."""

    def play_each(self, stagings: Sequence[Staging], done: Done) -> None:
        """Play them all; ``done`` hears of each. Blocks."""
        ...

    def close(self) -> None:
        """Nothing of it is left."""
        ...


def _player(wanted: Wanted) -> Player:
    kind = Stages if wanted.mode == "sim" else Processes
    return kind(wanted.tpm, wanted.seed, wanted.jobs, patch=wanted.patch)


def _begin(wanted: Wanted) -> RunFolder:
    folder = new_run("matrix", wanted.mode, wanted.seed)
    record = RunRecord(
        run=folder.run,
        experiment="matrix",
        mode=wanted.mode,
        seed=wanted.seed,
        code=code_version(),
        python=python_version(),
        lock=lock_version(),
        began=time.time(),
        tpm=wanted.tpm.value,
    )
    folder.write("run.json", msgspec.json.format(msgspec.json.encode(record)))
    (folder.path / STAGINGS).mkdir(exist_ok=True)
    return folder


def result_of(folder: RunFolder) -> Result:
    """What came of a run that has ended; KS-RUN-001 for one that is none of the matrix, KS-RUN-004
    for one that another version has written, or that is damaged."""
    return folder.decoded(ROWS, msgspec.json.Decoder(Result).decode)


def row_in(folder: RunFolder, block: Block, fault: Fault, event: Event) -> CellRow | None:
    """The cell as it was played in that run; None when it was not."""
    place = (block, fault, event)
    return next((r for r in result_of(folder).cells if (r.block, r.fault, r.event) == place), None)


def records_in(folder: RunFolder, staging: str) -> tuple[Record, ...]:
    """The history of a staging, each record verified; empty when its lab was lost."""
    values = packed(BytesIO(folder.read(f"{STAGINGS}/{staging}.msgpack")))
    return tuple(records_of(values))


def exit_of(result: Result) -> Exit:
    """0 when all agree, 1 when one disagrees or a control failed, 2 when one is void."""
    verdicts = {row.verdict for row in result.cells}
    if Agreement.DISAGREE in verdicts or not all(one.held for one in result.controls):
        return Exit.FAILED
    return Exit.UNKNOWN if Agreement.VOID in verdicts else Exit.PASS


def verdict_of(result: Result, run: str, wanted: Wanted, seconds: float) -> RunVerdict:
    """How the run as a whole ended."""
    code = exit_of(result)
    wrong = [row for row in result.cells if row.verdict is not Agreement.AGREE]
    unseen = [one for one in result.controls if not one.held]
    return RunVerdict(
        verdict=WORDS[code],
        exit_code=code,
        seed=wanted.seed,
        trace_hash="",
        run=run,
        tpms=(wanted.tpm,),
        checks=(),
        reasons=(
            *(f"{row.block} {row.fault} {row.event}: {row.why}" for row in wrong),
            *(f"{one.block}: it does not hold that {one.what}: {one.seen}" for one in unseen),
        ),
        ended=seconds,
    )


class _Work:
    """The stagings of one run, several at a time."""

    def __init__(self, wanted: Wanted, folder: RunFolder, player: Player, report: Report) -> None:
        self._wanted, self._folder, self._player, self._report = wanted, folder, player, report
        self._played: dict[str, tuple[Staging, tuple[Played, ...]]] = {}
        self._controls: list[Control] = []

    def play_all(self) -> Result:
        """Every cell; one that disagrees is played again in a lab of its own."""
        wanted = self._wanted
        stagings = stagings_of(wanted.cells, isolate=wanted.isolate)
        self._play_these((*stagings, *controls_of(wanted.cells)), "play")
        rows = {cell: self._row(cell, stagings) for cell in wanted.cells}
        again = [cell for cell, row in rows.items() if row.verdict is Agreement.DISAGREE]
        if again and not wanted.isolate:
            alone = stagings_of(again, isolate=True)
            self._play_these(alone, "play again, alone")
            for cell in again:
                rows[cell] = _decided(rows[cell], self._row(cell, alone))
        return Result(tuple(rows.values()), tuple(self._controls))

    def _play_these(self, stagings: Sequence[Staging], what: str) -> None:
        ended = count(1)

        def done(staging: Staging, outcome: Outcome) -> None:
            self._played[staging.name] = (staging, outcome.played)
            self._controls += outcome.controls
            self._folder.write(f"{STAGINGS}/{staging.name}.msgpack", outcome.history)
            self._report(f"{what}: {staging.name}", next(ended), len(stagings))

        self._player.play_each(stagings, done)

    def _row(self, cell: Cell, stagings: Sequence[Staging]) -> CellRow:
        plays = [
            (staging, played)
            for staging in stagings
            if (staging.block, staging.fault) == (cell.block, cell.fault)
            and cell.event in staging.events
            for played in self._played[staging.name][1]
            if played.event is cell.event
        ]
        return row_of(cell, self._folder.run, plays)


def _decided(batched: CellRow, alone: CellRow) -> CellRow:
    """The lone play decides; that it differs is a finding of its own."""
    if (batched.observed, batched.verdict) == (alone.observed, alone.verdict):
        return alone
    finding = f"with others {batched.observed} ({batched.verdict}: {batched.why}), alone not"
    return msgspec.structs.replace(alone, finding=finding)


def at_once(mode: str) -> int:
    """How many stagings are played at a time when nobody says."""
    return len(os.sched_getaffinity(0)) if mode == "sim" else AT_ONCE
