"""Assertions hold on sound code; a bug that breaks what one is about turns its line red."""

from __future__ import annotations

import json
import re

import pytest

from lab.cli.main import run
from lab.conformance.assertions import ASSERTIONS
from lab.conformance.bench import unheard
from lab.local.conformance import conformance
from lab.schema.answers.experiments import AssertionStanding, Conformance
from lab.schema.errors import KeysteadError
from tests.mutations.conformance import RED

pytestmark = pytest.mark.sim


def played(*names: str, bug: str = "") -> Conformance:
    """Of the truth table a part, that is named in its line."""
    patch = f"tests.mutations.bugs:{bug}" if bug else ""
    return conformance(names, seed=1, report=unheard, quick=True, patch=patch)


def test_there_are_thirty_each_with_its_bad_case() -> None:
    assert [one.id for one in ASSERTIONS] == [f"A{number:02}" for number in range(1, 31)]
    assert [one.id for one in ASSERTIONS] == list(RED)
    assert len({one.title for one in ASSERTIONS}) == len({one.play for one in ASSERTIONS}) == 30


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_all_of_them_pass() -> None:
    found = played()
    assert [one.id for one in found.items] == [one.id for one in ASSERTIONS]
    wrong = [
        f"{one.id}: {one.seen}" for one in found.items if one.standing is not AssertionStanding.PASS
    ]
    assert not wrong and found.exit_code == 0 and found.passed == 30
    assert all(one.seen for one in found.items)


@pytest.mark.slow
def test_a_part_of_the_truth_table_is_told_as_a_part() -> None:
    (one,) = played("A23").items
    assert re.match(r"(\d+) of \1 cells that were played agree, of 736 \(S10, S11 under", one.seen)


@pytest.mark.slow
@pytest.mark.parametrize("name", RED)
def test_a_bug_turns_its_line_red(name: str) -> None:
    bug, words = RED[name]
    found = played(name, bug=bug)
    (one,) = found.items
    assert one.standing is AssertionStanding.FAIL and found.exit_code == 1, one
    assert words in one.seen, one.seen


def test_one_that_there_is_not_is_told() -> None:
    with pytest.raises(KeysteadError, match="there is no assertion B1; there are A01 to A30") as c:
        played("B1")
    assert c.value.id == "KS-USE-002"


@pytest.mark.slow
def test_the_command_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["conformance", "--quick", "--assertion", "a12", "--assertion", "A28"]
    assert run(line) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("A12 pass: ") and lines[1].startswith("A28 pass: ")
    assert run([*line, "-o", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "Conformance" and document["passed"] == 2
    assert run(["conformance", "--assertion", "B1"]) != 0
    assert "there is no assertion B1" in capsys.readouterr().err
