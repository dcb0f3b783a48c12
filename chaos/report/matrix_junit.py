"""A run of the matrix as JUnit XML: a suite for each block, a case for each cell and control."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import groupby

from junitparser import Error, Failure, JUnitXml, Skipped, TestCase, TestSuite

from chaos.matrix.compare import CellRow
from chaos.matrix.control import Control
from chaos.matrix.terms import Agreement
from chaos.report.matrix_page import MatrixStory
from protocol.printable import printable


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
