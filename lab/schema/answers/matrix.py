"""What the matrix of blocks, faults and events is answered with."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from chaos.matrix.compare import CellRow
from chaos.matrix.control import Control
from chaos.matrix.outside import RowPlayed
from chaos.matrix.story import Line
from lab.schema.answers.base import Answer
from protocol.messages.agent import TpmBackend


class Moved(msgspec.Struct, frozen=True, kw_only=True):
    """A cell that is not as the table has it. ``was`` and ``now`` are letters; where these are the
    same, names of parts with their values, or empty when only the cause is another one."""

    block: str
    fault: str
    event: str
    was: str
    now: str
    why: str


class CellStory(Answer, frozen=True, kw_only=True):
    """One cell told: what block, fault and event mean, what was done and seen in each of its
    stagings, and the reasons that the table gives."""

    block: str
    fault: str
    event: str
    reasons: dict[str, str]
    cell: CellRow
    stagings: dict[str, tuple[Line, ...]]


class Matrix(Answer, frozen=True, kw_only=True):
    """Cells of the truth table, observed and expected, with the verdict of each.

    ``controls``: for each block, what must be so for its letters to mean anything.
    ``transport``: how key servers were asked, ``bus`` or ``kmip``. ``not_played``: how many cells
    an interrupt has left. ``seconds`` of real time. ``knobs``: those that were not at their
    defaults; ``moved`` then says which cells came out otherwise.
    """

    run: str
    mode: str
    transport: str
    tpm: TpmBackend
    seed: int
    seconds: float
    agree: int
    disagree: int
    void: int
    exit_code: int
    not_played: int = 0
    controls: tuple[Control, ...] = ()
    knobs: dict[str, Any] = {}
    moved: tuple[Moved, ...] = ()
    items: tuple[CellRow, ...]


class Outside(Answer, frozen=True, kw_only=True):
    """Rows outside of the grid, each with its cells as played. ``transport``: as of ``Matrix``.
    ``not_played``: how many an interrupt has left. ``seconds`` of real time."""

    run: str
    mode: str
    transport: str
    tpm: TpmBackend
    seed: int
    seconds: float
    exit_code: int
    not_played: int = 0
    items: tuple[RowPlayed, ...]


MATRIX: Final = (Matrix, CellStory, Outside)
"""What is answered without asking a lab."""
