"""A run of the matrix: its stagings played, its cells compared, everything kept in a folder; the
same for rows outside of the grid; and which cells a knob changes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from io import BytesIO
from itertools import chain, count
from typing import Any, Final, Protocol

import msgspec

from chaos.errors import ChaosError
from chaos.history import Record, read_packed, records_of
from chaos.matrix.compare import CellRow, row_of
from chaos.matrix.control import Control
from chaos.matrix.grid import Staging, controls_of, stagings_of
from chaos.matrix.outside import OutsideRow, RowPlayed, Rows
from chaos.matrix.play import PlayedEvent
from chaos.matrix.terms import UNCLEAR, Agreement
from chaos.oracle.table import Cell, parts
from chaos.oracle.terms import Block, TableEvent, TableFault
from chaos.verdict import WORDS, Exit
from chaos.verdict import Verdict as RunVerdict
from lab.building.course import Report
from lab.matrix.bench import Done, StagingOutcome
from lab.matrix.players import MOST_AT_ONCE, PER_CORE, Processes, Stages
from lab.runs.store import (
    RunFolder,
    RunRecord,
    code_version,
    lock_version,
    new_run,
    python_version,
)
from lab.schema.answers.matrix import Moved
from lab.schema.refusal import refusal
from lab.state.scratch import collect
from protocol.messages.agent import TpmBackend
from services.kms.settings.config import KmsTransport


def list_moved(rows: Iterable[CellRow]) -> tuple[Moved, ...]:
    """The cells that differ, in their order; those whose play failed tell nothing."""
    return tuple(_build_moved(row) for row in rows if row.verdict is Agreement.DISAGREE)


def _build_moved(row: CellRow) -> Moved:
    was, now = row.expected, row.observed
    why = row.why.removeprefix(f"{now}, and the table says {was}: ")
    if was == now:
        was, now = _parts(row)
    return Moved(block=row.block, fault=row.fault, event=row.event, was=was, now=now, why=why)


def _parts(row: CellRow) -> tuple[str, str]:
    """The parts that differ, as the table has them and as they were seen."""
    wanted = parts(Block(row.block), TableFault(row.fault), TableEvent(row.event))
    expected = {} if wanted is None else wanted.parts
    differ = [name for name, value in expected.items() if row.parts.get(name) != value]
    was = ", ".join(f"{name}: {expected[name]}" for name in differ)
    return was, ", ".join(f"{name}: {row.parts.get(name, UNCLEAR)}" for name in differ)


MATRIX: Final = "matrix"
"""What such a run is called among stored runs."""
CELLS_FILE: Final = "matrix.json"
STAGINGS: Final = "stagings"


class MatrixOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be played: ``jobs`` stagings at once; with ``isolate`` each event alone, with
    ``variants`` each fault in every way in which it can be made. ``knobs``: those of its labs that
    are not at their defaults. ``transport``: that of every key server."""

    cells: tuple[Cell, ...]
    mode: str
    tpm: TpmBackend
    seed: int
    jobs: int
    isolate: bool = False
    variants: bool = False
    patch: str = ""
    knobs: dict[str, Any] = {}
    transport: KmsTransport = KmsTransport.BUS


class Result(msgspec.Struct, frozen=True):
    """The cells in the order in which they were wanted, without those that an interrupt has left;
    the controls of their blocks. ``not_played``: how many were left."""

    cells: tuple[CellRow, ...]
    controls: tuple[Control, ...] = ()
    not_played: int = 0


def play_matrix(wanted: MatrixOrder, report: Report) -> tuple[RunFolder, Result]:
    """Play it all; blocks. Interrupted (Ctrl-C), it ends every lab and gives what was played."""

    def play(run: StagingRun) -> Result:
        cells = _Cells(wanted, run)
        with suppress(KeyboardInterrupt):
            cells.play_all()
        return cells.result()

    return play_run(wanted, MATRIX, report, play)


def play_run(
    wanted: MatrixOrder, what: str, report: Report, play: Callable[[StagingRun], Result]
) -> tuple[RunFolder, Result]:
    """A run that is called ``what``: ``play`` plays its stagings and says what came of them, which
    is kept in the run's folder. Every lab is ended in any case."""
    folder, began = _begin(wanted, what), time.time()
    with closing(player_of(wanted)) as player:
        result = play(StagingRun(wanted, folder, player, report))
    collect()  # what labs have left that were ended in the middle
    folder.write(CELLS_FILE, msgspec.json.format(msgspec.json.encode(result)))
    folder.end(verdict_of(result, folder.run, wanted, time.time() - began))
    return folder, result


class Player(Protocol):
    """Plays stagings, in one of the two modes."""

    def play_each(self, stagings: Sequence[Staging], done: Done, *, slowly: bool = False) -> None:
        """Play them all; ``done`` hears of each. Blocks. ``slowly``: with more time for everything,
        where time is real."""
        ...

    def close(self) -> None:
        """Nothing of it is left."""
        ...


def player_of(wanted: MatrixOrder) -> Player:
    """Who plays stagings in this mode."""
    kind = Stages if wanted.mode == "sim" else Processes
    return kind(
        wanted.tpm,
        wanted.seed,
        wanted.jobs,
        patch=wanted.patch,
        knobs=wanted.knobs,
        transport=wanted.transport,
    )


def _begin(wanted: MatrixOrder, what: str) -> RunFolder:
    """The folder of a run that is called ``what``."""
    folder = new_run(what, wanted.mode, wanted.seed)
    record = RunRecord(
        run=folder.run,
        experiment=what,
        mode=wanted.mode,
        seed=wanted.seed,
        code=code_version(),
        python=python_version(),
        lock=lock_version(),
        began=time.time(),
        tpm=wanted.tpm.value,
        knobs=wanted.knobs,
        transport=wanted.transport.value,
    )
    folder.write("run.json", msgspec.json.format(msgspec.json.encode(record)))
    (folder.path / STAGINGS).mkdir(exist_ok=True)
    return folder


def result_of(folder: RunFolder) -> Result:
    """What came of a run that has ended; KS-RUN-001 for one that is none of the matrix, KS-RUN-004
    for one that another version has written, or that is damaged."""
    return folder.read_decoded(CELLS_FILE, msgspec.json.Decoder(Result).decode)


def row_in(folder: RunFolder, block: Block, fault: TableFault, event: TableEvent) -> CellRow | None:
    """The cell as it was played in that run; None when it was not."""
    place = (block, fault, event)
    return next((r for r in result_of(folder).cells if (r.block, r.fault, r.event) == place), None)


def stagings_in(folder: RunFolder) -> tuple[str, ...]:
    """The names of the stagings of a run that have ended."""
    return tuple(sorted(path.stem for path in (folder.path / STAGINGS).glob("*.msgpack")))


def records_in(folder: RunFolder, staging: str) -> tuple[Record, ...]:
    """The history of a staging, each record verified; empty when its lab was lost. KS-CHAOS-204
    where it is not what was written."""
    data = folder.read(f"{STAGINGS}/{staging}.msgpack")
    try:
        return tuple(records_of(read_packed(BytesIO(data)))) if data else ()
    except ChaosError as error:
        raise refusal(error) from None


def exit_of(result: Result) -> Exit:
    """0 when all agree, 1 when one disagrees or a control failed, 2 when one is void; 130 when some
    were left."""
    if result.not_played:
        return Exit.INTERRUPTED
    verdicts = {row.verdict for row in result.cells}
    if Agreement.DISAGREE in verdicts or not all(one.held for one in result.controls):
        return Exit.FAILED
    return Exit.UNKNOWN if Agreement.VOID in verdicts else Exit.PASS


def verdict_of(result: Result, run: str, wanted: MatrixOrder, seconds: float) -> RunVerdict:
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


class StagingRun:
    """The stagings of one run: played several at a time, each kept in the run's ``folder``.

    ``played`` and ``controls``: what came of them, by the staging's name.
    """

    def __init__(
        self, wanted: MatrixOrder, folder: RunFolder, player: Player, report: Report
    ) -> None:
        self.folder = folder
        self._wanted, self._player, self._report = wanted, player, report
        self.played: dict[str, tuple[PlayedEvent, ...]] = {}
        self.controls: dict[str, tuple[Control, ...]] = {}

    def play(self, stagings: Sequence[Staging]) -> None:
        """Play them. On real processes, what a busy machine made void is played once more,
        slowly."""
        self.play_once(stagings, "play")
        if self._wanted.mode != "sim":
            void = [one for one in stagings if not self._tells(one)]
            self.play_once(void, "play again, slowly", slowly=True)

    def play_once(self, stagings: Sequence[Staging], what: str, *, slowly: bool = False) -> None:
        """Play them; ``what`` is what progress calls it. ``slowly``: with more time for all."""
        ended, began = count(1), time.monotonic()

        def keep_outcome(staging: Staging, outcome: StagingOutcome) -> None:
            self.played[staging.name] = outcome.played
            if staging.control:
                self.controls[staging.name] = outcome.controls
            self.folder.write(f"{STAGINGS}/{staging.name}.msgpack", outcome.history)
            number, text = next(ended), f"{what}: {staging.name}"
            if self._wanted.jobs < number < len(stagings):
                left_s = (time.monotonic() - began) / number * (len(stagings) - number)
                text += f", about {left_s:.0f} s left"
            if void := next((one.void for one in outcome.played if one.void), ""):
                text += f"; void: {void}"
            self._report(text, number, len(stagings))

        if stagings:
            self._player.play_each(stagings, keep_outcome, slowly=slowly)

    def row(self, cell: Cell, stagings: Sequence[Staging]) -> CellRow | None:
        """The cell as it came out in these; None when one was not played, or none is about it."""
        about = [staging for staging in stagings if cell.event in staging.events]
        if not about or not all(staging.name in self.played for staging in about):
            return None
        plays = [
            (staging, played)
            for staging in about
            for played in self.played[staging.name]
            if played.event is cell.event
        ]
        return row_of(cell, self.folder.run, plays)

    def _tells(self, staging: Staging) -> bool:
        """Whether what was played says anything: a control that failed may have been too late."""
        held = all(one.held for one in self.controls.get(staging.name, ()))
        return held and not any(one.void or one.unhealed for one in self.played[staging.name])


class _Cells:
    """The cells of the table that one run is about."""

    def __init__(self, wanted: MatrixOrder, run: StagingRun) -> None:
        self._wanted, self._run = wanted, run
        self._stagings = stagings_of(wanted.cells, isolate=wanted.isolate, variants=wanted.variants)
        self._alone: tuple[Staging, ...] = ()

    def play_all(self) -> None:
        """Every cell. One that disagrees is played again in a lab of its own."""
        self._run.play((*self._stagings, *controls_of(self._wanted.cells)))
        rows = ((cell, self._row(cell, self._stagings)) for cell in self._wanted.cells)
        again = [c for c, row in rows if row is not None and row.verdict is Agreement.DISAGREE]
        if not self._wanted.isolate:
            self._alone = stagings_of(again, isolate=True, variants=self._wanted.variants)
            self._run.play_once(self._alone, "play again, alone", slowly=True)

    def result(self) -> Result:
        """Of every cell whose stagings were all played."""
        found = [self._decide_cell(cell) for cell in self._wanted.cells]
        rows = tuple(row for row in found if row is not None)
        of_blocks = (self._run.controls.get(c.name, ()) for c in controls_of(self._wanted.cells))
        controls = tuple(chain.from_iterable(of_blocks))  # not as they happened to end
        return Result(rows, controls, not_played=len(found) - len(rows))

    def _row(self, cell: Cell, stagings: Sequence[Staging]) -> CellRow | None:
        place = (cell.block, cell.fault)
        return self._run.row(cell, [s for s in stagings if (s.block, s.fault) == place])

    def _decide_cell(self, cell: Cell) -> CellRow | None:
        """As it was played with others; where it was played alone too, that decides."""
        batched, alone = self._row(cell, self._stagings), self._row(cell, self._alone)
        return batched if batched is None or alone is None else _decide(batched, alone)


def _decide(batched: CellRow, alone: CellRow) -> CellRow:
    """The lone play decides; that it differs is a finding of its own."""
    if (batched.observed, batched.verdict) == (alone.observed, alone.verdict):
        return alone
    finding = f"with others {batched.observed} ({batched.verdict}: {batched.why}), alone not"
    return msgspec.structs.replace(alone, finding=finding)


def at_once(mode: str) -> int:
    """How many stagings are played at a time when nobody says."""
    cores = len(os.sched_getaffinity(0))
    return cores if mode == "sim" else min(PER_CORE * cores, MOST_AT_ONCE)


OUTSIDE: Final = "matrix-outside"
"""What such a run is called among stored runs."""
FILE: Final = "outside.json"


def play_outside(
    rows: Sequence[OutsideRow], wanted: MatrixOrder, report: Report
) -> tuple[RunFolder, Result, tuple[RowPlayed, ...]]:
    """Play them; blocks. Interrupted, it ends every lab; rows that were not played whole are left
    out of the answer."""
    played: list[RowPlayed] = []

    def play(run: StagingRun) -> Result:
        with suppress(KeyboardInterrupt):
            run.play([one for row in rows for play in row.plays for one in play.stagings(row.id)])
        played.extend(one for row in rows if (one := _row(row, run)) is not None)
        run.folder.write(FILE, msgspec.json.format(msgspec.json.encode(Rows(tuple(played)))))
        cells = tuple(cell for row in played for cell in row.cells)
        return Result(cells, not_played=len(rows) - len(played))

    folder, result = play_run(wanted, OUTSIDE, report, play)
    return folder, result, tuple(played)


def _row(row: OutsideRow, run: StagingRun) -> RowPlayed | None:
    """None when not all of it was played."""
    cells: list[CellRow] = []
    for play in row.plays:
        for cell in play.cells():
            found = run.row(cell, play.stagings(row.id))
            if found is None:
                return None
            # Where it was played, and not what it is compared with.
            cells.append(msgspec.structs.replace(found, block=play.block, fault=play.fault))
    verdicts = {cell.verdict for cell in cells}
    worst = next(one for one in (*_WORST, Agreement.AGREE) if one in verdicts)
    return RowPlayed(id=row.id, title=row.title, verdict=worst, cells=tuple(cells))


_WORST: Final = (Agreement.DISAGREE, Agreement.VOID)
