"""The report of a run of the matrix as one HTML file, and its blocks as pictures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from chaos.matrix.compare import CellRow
from chaos.matrix.control import Control
from chaos.matrix.terms import Agreement
from chaos.oracle.table import title
from chaos.oracle.terms import Block
from chaos.report.blocks import block_picture, squares_of
from chaos.report.filling import drawing, fill_template

LETTERS: Final = {
    "OK": "done, and it works",
    "SAFE": "host up, crypto-safe",
    "UNSAFE": "host up, not crypto-safe",
    "LK": "refused for lack of a key, locked",
    "NO": "refused or impossible, not locked",
    "PS": "purple screen",
    "PT": "in part",
}


@dataclass(frozen=True, kw_only=True)
class MatrixStory:
    """A run of the matrix. ``facts`` by name; ``word`` is its verdict; ``titles`` of reasons."""

    run: str
    word: str
    facts: Mapping[str, Any]
    began: float
    seconds: float
    again: str
    cells: tuple[CellRow, ...]
    controls: tuple[Control, ...] = ()
    not_played: int = 0
    titles: Mapping[str, str] = field(default_factory=dict)


def matrix_page(story: MatrixStory) -> str:
    """The report; a cell that does not agree comes first."""
    began = datetime.fromtimestamp(story.began, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    counts: dict[str, int] = dict(Counter(row.verdict.value for row in story.cells))
    numbers = {reason for row in story.cells for reason in row.reasons}
    values = {
        "cells": story.cells,
        "word": story.word,
        "counts": counts | {"not played": story.not_played},
        "facts": {
            "run": story.run,
            **story.facts,
            "took": f"{story.seconds:.0f} s",
            "began": began,
        },
        "again": story.again,
        "letters": LETTERS,
        "wrong": [row for row in story.cells if row.verdict is not Agreement.AGREE],
        "failed": [one for one in story.controls if not one.held],
        "blocks": {
            block.value: {"title": title(block), "picture": block_picture(block, squares)}
            for block, squares in squares_of(story.cells).items()
        },
        "reasons": {
            number: f"R{number} {story.titles.get(f'R{number}', '')}".strip() for number in numbers
        },
    }
    return fill_template("matrix.html", values, title=f"{story.run}: {story.word}")


def matrix_drawings(story: MatrixStory) -> dict[Block, str]:
    """An SVG file for each block that was played, without tips and links."""
    return {
        block: drawing(
            block_picture(
                block,
                {place: square.bare() for place, square in squares.items()},
            )
        )
        for block, squares in squares_of(story.cells).items()
    }
