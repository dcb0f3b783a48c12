"""The tour names files and functions that are there."""

from __future__ import annotations

import ast
import re

import pytest

from tests.tidy.tree import ROOT

PAGE = ROOT / "docs" / "tour.md"
_FILE = re.compile(r"`([\w./-]+/[\w.-]+\.\w+)`")
_FUNCTION = re.compile(r"`(\w+)\(\)`")
_CLASS = re.compile(r"`([A-Z]\w+)`")


def defined_in(paths: list[str]) -> set[str]:
    """The classes and functions of these files."""
    found = set()
    for path in paths:
        for node in ast.walk(ast.parse((ROOT / path).read_text("utf-8"))):
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                found.add(node.name)
    return found


def wrong(line: str) -> list[str]:
    """What this line of the tour names and is not there."""
    files = _FILE.findall(line)
    absent = [path for path in files if not (ROOT / path).is_file()]
    if absent:
        return absent
    named = [*_FUNCTION.findall(line), *_CLASS.findall(line)]
    there = defined_in(files)
    return [name for name in named if name not in there]


STOPS = [line for line in PAGE.read_text("utf-8").splitlines() if re.match(r"\d+\. ", line)]


@pytest.mark.parametrize("line", STOPS, ids=[line[:40] for line in STOPS])
def test_what_a_stop_names_is_there(line: str) -> None:
    assert _FILE.search(line) and wrong(line) == []


def test_there_are_two_stories_of_ten_stops() -> None:
    assert [line.split(".")[0] for line in STOPS] == [str(n) for n in range(1, 11)] * 2


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("`lab/nowhere.py` does it", ["lab/nowhere.py"]),
        ("`lab/serve/vms/vms.py` · `no_such()` and `encrypt()`", ["no_such"]),
        ("`lab/schema/wire.py` has `RunCommand` and no `NoSuch`", ["NoSuch"]),
    ],
)
def test_what_is_gone_is_found(line: str, found: list[str]) -> None:
    assert wrong(line) == found
