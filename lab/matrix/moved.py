"""What a knob changes: cells of the truth table that come out otherwise under other values. Pure.

The table is played at the defaults of all knobs. A run with other values says of each cell that
differs what the table has, and what was seen: the letter, the part of a cell that holds partly, or
the cause when only that is another one.
"""

from __future__ import annotations

from collections.abc import Iterable

from chaos.matrix.compare import CellRow
from chaos.matrix.terms import UNCLEAR, Agreement
from chaos.oracle.table import parts
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.schema.answers.matrix import Moved


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
