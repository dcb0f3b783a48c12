"""The truth table as data: 840 cells, and the parts of those whose letter is ``PT``.

The matrix and the tests of the model compare with it after they have an answer of their own.
"""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from chaos.oracle.terms import Block, CellTag, Letter, TableEvent, TableFault

TRUTH: Final = Path(__file__).with_name("truth.txt")
PARTS: Final = Path(__file__).with_name("parts.toml")


class Cell(msgspec.Struct, frozen=True):
    """The outcome of ``event`` under ``fault`` in ``block``, and its reasons.

    ``reasons``: numbers of the reasons R1 to R66, in the table's order. ``tag``: None where the
    cell does not apply.
    """

    block: Block
    fault: TableFault
    event: TableEvent
    letter: Letter
    tag: CellTag | None = None
    reasons: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.block} {self.fault} {self.event}"


class CellParts(msgspec.Struct, frozen=True, kw_only=True):
    """What cells with the letter ``PT`` must show: every part, in this order, with this value."""

    group: str
    blocks: tuple[Block, ...]
    faults: tuple[TableFault, ...]
    event: TableEvent
    parts: dict[str, bool | int | str]


@cache
def cells() -> tuple[Cell, ...]:
    """All cells: by block, then fault, then event."""
    return read_cells(TRUTH.read_text(encoding="utf-8"))


def cell(block: Block, fault: TableFault, event: TableEvent) -> Cell:
    """The cell of this block, fault and event."""
    return _by_place()[block, fault, event]


def title(block: Block) -> str:
    """A description of the block."""
    return _titles(TRUTH.read_text(encoding="utf-8"))[block]


def parts(block: Block, fault: TableFault, event: TableEvent) -> CellParts | None:
    """The parts of this cell; None where its letter is not ``PT``."""
    return _parts_by_place().get((block, fault, event))


@cache
def all_parts() -> tuple[CellParts, ...]:
    """The groups of cells that share their parts, by name of the group."""
    groups = tomllib.loads(PARTS.read_text(encoding="utf-8"))
    return tuple(
        msgspec.convert({"group": name, **values}, CellParts) for name, values in groups.items()
    )


def read_cells(text: str) -> tuple[Cell, ...]:
    """The cells of a table written as ``truth.txt`` is."""
    found: list[Cell] = []
    block: Block | None = None
    for line in _lines(text):
        if "|" not in line:
            block = Block(line.partition(":")[0])
            continue
        fault, *row = (entry.strip() for entry in line.split("|"))
        if block is None or not fault:
            continue  # the heads of the columns
        for event, entry in zip(TableEvent, row, strict=True):
            found.append(_cell(block, TableFault(fault), event, entry.split()))
    return tuple(found)


def _cell(block: Block, fault: TableFault, event: TableEvent, words: list[str]) -> Cell:
    letter, tag, reasons = (*words, "", "")[:3]
    return Cell(
        block,
        fault,
        event,
        Letter(letter),
        CellTag(tag) if tag else None,
        tuple(int(reason) for reason in reasons.split(",") if reason),
    )


def _lines(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _titles(text: str) -> dict[Block, str]:
    heads = (line.partition(": ") for line in _lines(text) if "|" not in line)
    return {Block(name): told for name, _, told in heads}


@cache
def _by_place() -> dict[tuple[Block, TableFault, TableEvent], Cell]:
    return {(cell.block, cell.fault, cell.event): cell for cell in cells()}


@cache
def _parts_by_place() -> dict[tuple[Block, TableFault, TableEvent], CellParts]:
    return {
        (block, fault, group.event): group
        for group in all_parts()
        for block in group.blocks
        for fault in group.faults
    }
