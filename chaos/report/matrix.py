"""The report of a run of the matrix: one HTML file, its blocks as pictures (faults down, events
across, a letter in each square), and JUnit XML with a suite for each block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import groupby
from typing import Any, Final

import msgspec
from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from chaos.matrix.compare import CellRow
from chaos.matrix.control import Control
from chaos.matrix.terms import Agreement
from chaos.oracle.table import Cell, cell, title
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from chaos.report.filling import drawing, fill_template
from chaos.report.shapes import Picture, Rect, ShapeLine, Text
from protocol.printable import printable

FAULTS: Final = {
    TableFault.F0: "nothing",
    TableFault.F1: "key servers away",
    TableFault.F2: "vCenter down",
    TableFault.F3: "trusted side down",
    TableFault.F4: "all of these down",
    TableFault.F5A: "sealing policy broken",
    TableFault.F5B: "another build booted",
    TableFault.F6: "TPM cleared or gone",
    TableFault.F7: "provider deleted",
    TableFault.F8: "key gone at its source",
}
"""Each fault in the few words that fit beside its row."""
EVENTS: Final = {
    TableEvent.E1: ("VM", "runs on"),
    TableEvent.E2: ("host", "reboots"),
    TableEvent.E3: ("power-on,", "no reboot"),
    TableEvent.E4: ("power-on,", "rebooted"),
    TableEvent.E5: ("HA, host", "has key"),
    TableEvent.E6: ("HA, host", "lacks key"),
    TableEvent.E7: ("vMotion,", "has key"),
    TableEvent.E8: ("vMotion,", "lacks key"),
    TableEvent.E9: ("new VM", "or vTPM"),
    TableEvent.E10: ("shallow", "recrypt"),
    TableEvent.E11: ("host", "added"),
    TableEvent.E12: ("vSAN,", "rebooted"),
}
"""Each event in two lines that fit above its column."""

_LEFT, _TOP = 168.0, 46.0
_W, _H, _GAP = 66.0, 24.0, 2.0


class Square(msgspec.Struct, frozen=True, kw_only=True):
    """What a square shows: its letter, whether the play agreed (None: it was not compared), the
    text of its tip, and where a click leads."""

    letter: str
    agreement: Agreement | None = None
    tip: str = ""
    href: str = ""

    def bare(self) -> Square:
        """Without tip and link, for a picture that stands alone."""
        return msgspec.structs.replace(self, tip="", href="")


Squares = Mapping[tuple[TableFault, TableEvent], Square]


def squares_of(rows: Sequence[CellRow]) -> dict[Block, Squares]:
    """The squares of each block that a run has played, in the run's order."""
    return {
        Block(block): {(TableFault(row.fault), TableEvent(row.event)): _square(row) for row in of}
        for block, of in groupby(rows, key=lambda row: row.block)
    }


def squares_of_table(block: Block) -> Squares:
    """What a run draws in which every cell of the block agrees."""
    found = (cell(block, fault, event) for fault in TableFault for event in TableEvent)
    return {
        (one.fault, one.event): _square_in_table(one)
        for one in found
        if one.letter is not Letter.NONE
    }


def anchor(row: CellRow) -> str:
    """Where a page tells of the cell."""
    return f"{row.block}-{row.fault}-{row.event}"


def block_picture(block: Block, squares: Squares) -> Picture:
    """The picture of one block. A square that is not in ``squares`` was not played, or does not
    apply: then it has a dash."""
    width = _LEFT + len(TableEvent) * (_W + _GAP)
    height = _TOP + len(TableFault) * (_H + _GAP)
    told = f"{block}, {title(block)}: what each event comes to under each fault"
    picture = Picture(width, height, told)
    for column, event in enumerate(TableEvent):
        middle = _LEFT + column * (_W + _GAP) + _W / 2
        picture.add(Text(x=middle, y=11.0, text=event.value, look="head", anchor="middle"))
        for line, words in enumerate(EVENTS[event]):
            y = 23.0 + line * 12.0
            picture.add(Text(x=middle, y=y, text=words, look="tick", anchor="middle"))
    for row, fault in enumerate(TableFault):
        y = _TOP + row * (_H + _GAP)
        base = y + _H / 2 + 3.5
        picture.add(Text(x=0.0, y=base, text=fault.value, look="head"))
        picture.add(Text(x=28.0, y=base, text=FAULTS[fault], look="label"))
        for column, event in enumerate(TableEvent):
            x = _LEFT + column * (_W + _GAP)
            _draw(picture, x, y, cell(block, fault, event), squares.get((fault, event)))
    return picture


def _draw(picture: Picture, x: float, y: float, place: Cell, square: Square | None) -> None:
    middle, base = x + _W / 2, y + _H / 2 + 3.5
    if square is None:
        text = "–" if place.letter is Letter.NONE else "not played"
        picture.add(Text(x=middle, y=base, text=text, look="quiet", anchor="middle"))
        return
    known = square.letter if square.letter in set(Letter) else "unclear"
    picture.add(
        Rect(x=x, y=y, w=_W, h=_H, look=f"l l-{known}", tip=square.tip, href=square.href),
        Text(x=middle, y=base, text=square.letter, look="letter", anchor="middle"),
    )
    if square.agreement is Agreement.DISAGREE:
        picture.add(Rect(x=x + 1, y=y + 1, w=_W - 2, h=_H - 2, look="odd"))
    elif square.agreement is Agreement.VOID:
        picture.add(ShapeLine(x=x + 4, y=y + _H - 4, x2=x + _W - 4, y2=y + 4, look="void"))


def _square(row: CellRow) -> Square:
    wrong = (
        "" if row.verdict is Agreement.AGREE else f"\n{row.verdict}: the table has {row.expected}"
    )
    tip = f"{row.block} {row.fault} {row.event}: {row.observed}{wrong}\n{row.why}"
    return Square(
        letter=row.observed, agreement=row.verdict, tip=tip.strip(), href=f"#{anchor(row)}"
    )


def _square_in_table(place: Cell) -> Square:
    return Square(letter=place.letter.value, agreement=Agreement.AGREE)


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


def matrix_junit(story: MatrixStory, *, strict: bool = False) -> bytes:
    """The document in UTF-8.

    A cell that disagrees, and a control that does not hold, is a failure; a void one is skipped, or
    with ``strict`` an error. Cells that an interrupt has left are an error of their own.
    """
    document = JUnitXml("keystead")
    began = datetime.fromtimestamp(story.began, UTC).replace(tzinfo=None)
    for block, rows in groupby(story.cells, key=lambda row: row.block):
        suite = TestSuite(f"matrix {printable(block)}")
        suite.timestamp = began.isoformat(timespec="seconds")
        for name, value in {"run": story.run, **story.facts}.items():
            suite.add_property(name, printable(str(value)))
        for row in rows:
            suite.add_testcase(_case(row, strict))
        for control in story.controls:
            if control.block == block:
                suite.add_testcase(_control(control))
        document.add_testsuite(suite)
    if story.not_played:
        suite, case = TestSuite("matrix"), TestCase("the run", "matrix.run", 0)
        case.result = [Error(f"{story.not_played} cells were not played", "interrupted")]
        suite.add_testcase(case)
        document.add_testsuite(suite)
    text: bytes = document.tostring()  # type: ignore[no-untyped-call]
    return text


def _case(row: CellRow, strict: bool) -> TestCase:
    case = TestCase(f"{row.fault} {row.event}", f"matrix.{row.block}", 0)
    said = printable("; ".join(filter(None, (f"{row.observed}: {row.why}", row.finding))))
    match row.verdict:
        case Agreement.DISAGREE:
            failure = Failure(f"the table has {row.expected}", "disagree")
            cell = f"{row.block} {row.fault} {row.event}"
            runs = dict.fromkeys(evidence.run for evidence in row.evidence)
            failure.text = "\n".join(
                [said, *(f"again: keystead matrix explain {cell} --run {run}" for run in runs)]
            )
            case.result = [failure]
        case Agreement.VOID:
            case.result = [Error(said, "void") if strict else Skipped(said, "void")]
        case Agreement.AGREE:
            case.system_out = said
    return case


def _control(control: Control) -> TestCase:
    case = TestCase(printable(control.what), f"matrix.{control.block}.control", 0)
    if control.held:
        case.system_out = printable(control.seen)
    else:
        case.result = [Failure(printable(control.seen), "control")]
    return case
