"""The report of a run of the matrix: its page, its pictures, its JUnit XML."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from junitparser import JUnitXml

from chaos.matrix.compare import CellRow, EvidencePlace
from chaos.matrix.control import Control
from chaos.matrix.terms import Agreement
from chaos.oracle.table import cells
from chaos.oracle.terms import Block, Letter
from chaos.report.filling import drawing
from chaos.report.matrix import (
    MatrixStory,
    block_picture,
    matrix_drawings,
    matrix_junit,
    matrix_page,
    squares_of,
    squares_of_table,
)
from chaos.report.shapes import Rect, Text
from tests.chaos.report.test_page import HOSTILE, Read

DOCS = Path(__file__).parents[3] / "docs"
AGREE, DISAGREE, VOID = Agreement.AGREE, Agreement.DISAGREE, Agreement.VOID


def row(
    event: str = "E4", verdict: Agreement = AGREE, observed: str = "LK", **more: str
) -> CellRow:
    made = CellRow(
        block="S10",
        fault="F1",
        event=event,
        expected="LK",
        observed=observed,
        verdict=verdict,
        tag="d",
        reasons=(6,),
        parts={"host_in_inventory": True},
        evidence=(EvidencePlace(run="matrix-sim-1", staging="S10-F1-orderly", records=(7,)),),
        why="refused for its key",
    )
    return msgspec.structs.replace(made, **more)


def run(*rows: CellRow, controls: tuple[Control, ...] = (), not_played: int = 0) -> MatrixStory:
    return MatrixStory(
        run="matrix-sim-1",
        word="pass",
        facts={"mode": "sim", "seed": 1},
        began=0.0,
        seconds=8.0,
        again="keystead matrix --seed 1",
        cells=rows,
        controls=controls,
        not_played=not_played,
        titles={"R6": "no key anywhere"},
    )


def test_a_page_says_what_was_seen_and_why() -> None:
    read = Read(matrix_page(run(row(), not_played=3)))
    assert "refused for its key" in read.said and "R6 no key anywhere" in read.said
    assert "host_in_inventory: True" in read.said
    assert "1 agree" in read.said and "3 not played" in read.said
    assert "Not as the table has it" not in read.said
    assert {"S10", "S10-F1-E4"} <= read.ids and "#S10-F1-E4" in read.links
    inside = {link[1:] for link in read.links if link.startswith("#")}
    assert inside <= read.ids


def test_what_does_not_agree_comes_first() -> None:
    wrong = row(verdict=DISAGREE, observed="OK", why="it started", finding="alone it is LK")
    failed = Control(
        block=Block.S10, what="a flipped bit is noticed", held=False, seen="it was not"
    )
    said = Read(matrix_page(run(row(event="E3"), wrong, controls=(failed,)))).said
    assert said.index("Not as the table has it") < said.index("standard provider")
    assert "it started" in said and "alone it is LK" in said
    assert "it does not hold that a flipped bit is noticed: it was not" in said


def test_nothing_that_a_run_says_becomes_a_part_of_the_page() -> None:
    calm, wild = row(why="calm"), row(why=HOSTILE, finding=HOSTILE)
    for one in (calm, wild):
        assert Read(matrix_page(run(one))).names == Read(matrix_page(run(calm))).names
    assert "onerror" not in "".join(Read(matrix_page(run(wild))).handlers)


@pytest.mark.parametrize(("verdict", "mark"), [(AGREE, ""), (DISAGREE, "odd"), (VOID, "void")])
def test_a_square_shows_letter_and_verdict(verdict: Agreement, mark: str) -> None:
    picture = block_picture(Block.S10, squares_of([row(verdict=verdict)])[Block.S10])
    letters = [s.text for s in picture.shapes if isinstance(s, Text) and s.look == "letter"]
    assert letters == ["LK"]
    assert next(s.look for s in picture.shapes if isinstance(s, Rect)) == "l l-LK"
    assert {s.look for s in picture.shapes} & {"odd", "void"} == ({mark} if mark else set())


def test_a_letter_that_fits_none_is_unclear() -> None:
    picture = block_picture(Block.S10, squares_of([row(observed="??")])[Block.S10])
    assert "l l-unclear" in {s.look for s in picture.shapes}


def test_squares_that_were_not_played_say_so() -> None:
    picture = block_picture(Block.S10, {})
    said = [s.text for s in picture.shapes if isinstance(s, Text) and s.look == "quiet"]
    of_block = [one for one in cells() if one.block is Block.S10]
    apart = sum(one.letter is Letter.NONE for one in of_block)
    assert said.count("–") == apart > 0
    assert said.count("not played") == len(of_block) - apart


def test_a_drawing_stands_alone() -> None:
    (text,) = matrix_drawings(run(row(why=HOSTILE))).values()
    tree = ElementTree.fromstring(text)  # noqa: S314 - a file of ours
    assert tree.tag.endswith("svg") and "href" not in text and "script" not in text
    assert "prefers-color-scheme" in text


@pytest.mark.parametrize("block", Block)
def test_the_pictures_of_the_docs_are_what_a_run_draws_that_agrees(block: Block) -> None:
    shown = (DOCS / "blocks" / f"{block}.svg").read_text("utf-8")
    assert shown == drawing(block_picture(block, squares_of_table(block)))
    assert f"(blocks/{block}.svg)" in (DOCS / "blocks.md").read_text("utf-8")


# ---- JUnit --------------------------------------------------------------------------------------


def test_cells_are_cases() -> None:
    rows = (row(), row("E3", DISAGREE, "OK", why="it started"), row("E2", VOID, ""))
    held = Control(block=Block.S10, what="a flipped bit is noticed", held=True, seen="fault")
    failed = msgspec.structs.replace(held, held=False, what="nobody is marked")
    document = JUnitXml.fromstring(matrix_junit(run(*rows, controls=(held, failed))))
    (suite,) = document
    assert (suite.tests, suite.failures, suite.skipped, suite.errors) == (5, 2, 1, 0)
    failure = next(case for case in suite if case.name == "F1 E3").result[0]
    assert "matrix explain S10 F1 E3 --run matrix-sim-1" in failure.text


def test_what_is_void_is_an_error_when_asked_to_be_strict() -> None:
    document = JUnitXml.fromstring(matrix_junit(run(row(verdict=VOID), not_played=2), strict=True))
    assert document.errors == 2
