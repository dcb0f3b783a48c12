"""Rows outside of the grid on labs: their stagings played, each compared, all kept in a folder.

``runs/<run>/``: as a run of the grid, with ``outside.json``, which has every row.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import closing, suppress
from itertools import count
from typing import Final

import msgspec

from chaos.matrix.compare import CellRow, row_of
from chaos.matrix.grid import Staging
from chaos.matrix.outside import OutsidePlay, OutsideRow, RowPlayed, Rows
from chaos.matrix.play import Played
from chaos.matrix.terms import Agreement
from lab.building.course import Report
from lab.matrix.outcome import Outcome
from lab.matrix.run import ROWS, STAGINGS, Player, Result, Wanted, begin, player_of, verdict_of
from lab.runs.store import RunFolder
from lab.state.scratch import collect

OUTSIDE: Final = "matrix-outside"
"""What such a run is called among stored runs."""
FILE: Final = "outside.json"


def play_outside(
    rows: Sequence[OutsideRow], wanted: Wanted, report: Report
) -> tuple[RunFolder, Result, tuple[RowPlayed, ...]]:
    """Play them; blocks. Interrupted, it ends every lab; rows that were not played whole are left
    out of the answer."""
    folder, began, ended = begin(wanted, OUTSIDE), time.time(), count(1)
    stagings = [one for row in rows for play in row.plays for one in play.stagings(row.id)]
    found: dict[str, tuple[Played, ...]] = {}

    def keep_outcome(staging: Staging, outcome: Outcome) -> None:
        found[staging.name] = outcome.played
        folder.write(f"{STAGINGS}/{staging.name}.msgpack", outcome.history)
        report(f"play: {staging.name}", next(ended), len(stagings))

    with closing(player_of(wanted)) as player:
        with suppress(KeyboardInterrupt):
            _play(player, stagings, keep_outcome)
            if wanted.mode != "sim":
                again = [one for one in stagings if _says_nothing(found.get(one.name, ()))]
                _play(player, again, keep_outcome, slowly=True)
    collect()
    played = tuple(one for row in rows if (one := _row(row, folder.run, found)) is not None)
    cells = tuple(cell for row in played for cell in row.cells)
    result = Result(cells, not_played=len(rows) - len(played))
    folder.write(ROWS, msgspec.json.format(msgspec.json.encode(result)))
    folder.write(FILE, msgspec.json.format(msgspec.json.encode(Rows(played))))
    verdict = verdict_of(result, folder.run, wanted, time.time() - began)
    folder.end(verdict)
    return folder, result, played


def _play(player: Player, stagings: Sequence[Staging], done: object, **how: bool) -> None:
    if stagings:
        player.play_each(stagings, done, **how)  # type: ignore[arg-type]


def _says_nothing(played: tuple[Played, ...]) -> bool:
    return not played or any(one.void or one.unhealed for one in played)


def _row(row: OutsideRow, run: str, found: dict[str, tuple[Played, ...]]) -> RowPlayed | None:
    """None when not all of it was played."""
    if not all(one.name in found for play in row.plays for one in play.stagings(row.id)):
        return None
    cells = tuple(cell for play in row.plays for cell in _cells(play, row.id, run, found))
    verdicts = {cell.verdict for cell in cells}
    worst = next(one for one in (*_WORST, Agreement.AGREE) if one in verdicts)
    return RowPlayed(id=row.id, title=row.title, verdict=worst, cells=cells)


_WORST: Final = (Agreement.DISAGREE, Agreement.VOID)


def _cells(
    play: OutsidePlay, row: str, run: str, found: dict[str, tuple[Played, ...]]
) -> list[CellRow]:
    """Each with the block and fault in which it was played."""
    made = []
    for cell in play.cells():
        plays = [
            (staging, played)
            for staging in play.stagings(row)
            if cell.event in staging.events
            for played in found[staging.name]
            if played.event is cell.event
        ]
        one = row_of(cell, run, plays)
        made.append(msgspec.structs.replace(one, block=play.block, fault=play.fault))
    return made
