"""A play of the whole truth table: the matrix, in virtual time."""

from __future__ import annotations

from typing import Final

from chaos.matrix.events import EVENTS
from chaos.matrix.faults import FAULTS
from chaos.matrix.grid import BLOCKS, cells_of
from chaos.matrix.terms import Agreement
from chaos.oracle.table import cells
from chaos.oracle.terms import Block, Letter, TableFault
from lab.conformance.bench import Bench, holds
from lab.matrix.run import MatrixOrder, at_once, play_matrix
from protocol.messages.agent import TpmBackend

QUICK: Final = ((Block.S10, Block.S11), (TableFault.F1, TableFault.F2))
"""Blocks and faults of the part that is played where it is to be quick."""
_SHOWN: Final = 5


def truth_table(bench: Bench) -> str:
    """A23: every cell is as it is observed, by a play of its own. It blocks, and says how
    many cells it has played of how many that there are."""
    blocks, faults = QUICK if bench.quick else (BLOCKS, tuple(FAULTS))
    wanted = MatrixOrder(
        cells=cells_of(blocks, faults, tuple(EVENTS)),
        mode="sim",
        tpm=TpmBackend.MODEL,
        seed=bench.seed,
        jobs=at_once("sim"),
        patch=bench.patch,
    )
    folder, result = play_matrix(wanted, bench.report)
    if result.not_played:
        raise KeyboardInterrupt
    count = sum(row.verdict is Agreement.AGREE for row in result.cells)
    whole = sum(cell.letter is not Letter.NONE for cell in cells())
    what = f"{count} of {len(result.cells)} cells that were played agree, of {whole}"
    what += f" ({', '.join(blocks)} under {', '.join(faults)})" if bench.quick else ""
    wrong = [row for row in result.cells if row.verdict is not Agreement.AGREE]
    shown = [f"{row.block} {row.fault} {row.event} {row.verdict}: {row.why}" for row in wrong]
    shown += [f"{one.block}: {one.what}: {one.seen}" for one in result.controls if not one.held]
    holds(not shown, f"{what}; {'; '.join(shown[:_SHOWN])} ({folder.run})")
    return f"{what}; {len(result.controls)} controls hold ({folder.run})"
