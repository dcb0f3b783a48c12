"""Decisions are numbered once, listed in the index, and found by a citation."""

from __future__ import annotations

import re
from pathlib import Path

from tests.tidy.tree import ROOT, sources

_HEADING = re.compile(r"# (\d+)\. \S")
_CITED = re.compile(r"\b[Dd]ecision (\d+)\b")
_FILES = sorted((ROOT / "docs" / "decisions").glob("0*.md"))


_NUMBERS = [int(file.name[:4]) for file in _FILES]


def test_a_number_is_of_one_decision_and_the_one_of_its_heading() -> None:
    headings = [_HEADING.match(file.read_text()) for file in _FILES]
    assert [heading and int(heading[1]) for heading in headings] == _NUMBERS
    assert len(set(_NUMBERS)) == len(_NUMBERS) > 90


def test_a_decision_that_is_cited_is_there() -> None:
    cited = [
        (source.path, int(number)) for source in sources() for number in _CITED.findall(source.text)
    ]
    assert cited
    assert [one for one in cited if one[1] not in _NUMBERS] == []


def test_the_index_lists_each_decision_with_its_title_and_status() -> None:
    index = (ROOT / "docs" / "decisions" / "README.md").read_text()
    assert [row for row in map(_row, _FILES) if row not in index] == []
    assert index.count("\n| [") == len(_FILES)


def _row(file: Path) -> str:
    text = file.read_text()
    number, _, title = text.splitlines()[0].removeprefix("# ").partition(". ")
    successor = re.search(r"^Superseded by (\[\d+\]\(\S+\.md\))", text, re.MULTILINE)
    status = f"superseded by {successor[1]}" if successor else "accepted"
    return f"| [{number}]({file.name}) | {title} | {status} |"
