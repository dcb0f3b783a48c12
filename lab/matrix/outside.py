"""Rows outside of the grid on labs: their stagings played, each compared, all kept in a folder.

``runs/<run>/``: as a run of the grid, with ``outside.json``, which has every row.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import msgspec

from chaos.matrix.compare import CellRow
from chaos.matrix.outside import OutsideRow, RowPlayed, Rows
from chaos.matrix.terms import Agreement
from lab.building.course import Report
from lab.matrix.run import MatrixOrder, Result, StagingRun, play_run
from lab.runs.store import RunFolder

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
