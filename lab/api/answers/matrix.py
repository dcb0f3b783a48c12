"""What the matrix of blocks, faults and events is answered with."""

from __future__ import annotations

from chaos.matrix.compare import CellRow
from lab.api.answers.base import Answer
from protocol.messages.agent import TpmBackend


class Matrix(Answer, frozen=True, kw_only=True):
    """Cells of the truth table, observed and expected, with the verdict of each.

    ``not_built``: what was asked for and cannot be played in this version, with why. ``seconds``
    of real time.
    """

    run: str
    mode: str
    tpm: TpmBackend
    seed: int
    seconds: float
    agree: int
    disagree: int
    void: int
    exit_code: int
    not_built: tuple[str, ...] = ()
    items: tuple[CellRow, ...]
