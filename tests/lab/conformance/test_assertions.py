"""Assertions hold on sound code; a bug that breaks what one is about turns its line red."""

from __future__ import annotations

import pytest

from lab.api.answers.conformance import Conformance
from lab.api.conformance import conformance
from lab.cli.main import run
from lab.conformance.assertions import ASSERTIONS
from lab.conformance.standing import Standing
from lab.errors import KeysteadError

pytestmark = pytest.mark.sim

BAD_CASES = {
    "A01": ("locks_on_first_silence", "locked VMs while"),
    "A02": ("cache_survives_reboot", "and not prepared"),
    "A03": ("waits_for_vcenter", "poweredOff"),
    "A05": ("removal_ignored", "after they were removed"),
    "A08": ("old_recovery_key_accepted", "rotated away"),
    "A12": ("kdk_in_memory_only", "and not safe"),
    "A13": ("unexported_provider_usable", "it was done"),
    "A16": ("first_key_server_only", ""),
    "A20": ("vsan_kek_not_persisted", ""),
}
"""For each assertion that is built: a planted bug, and words of what is seen then."""


def unheard(text: str, step: int, total: int) -> None:
    """Nobody listens."""


def played(*names: str, bug: str = "") -> Conformance:
    patch = f"tests.mutations.bugs.{bug}" if bug else ""
    return conformance(names, seed=1, report=unheard, patch=patch)


def test_there_are_thirty_each_played_or_with_what_it_needs() -> None:
    assert [one.id for one in ASSERTIONS] == [f"A{number:02}" for number in range(1, 31)]
    for one in ASSERTIONS:
        assert bool(one.play) is not bool(one.needs) and one.title
    assert [one.id for one in ASSERTIONS if one.play] == list(BAD_CASES)


def test_all_that_are_built_pass() -> None:
    found = played()
    assert [one.id for one in found.items] == [one.id for one in ASSERTIONS]
    wrong = [f"{one.id}: {one.seen}" for one in found.items if one.standing is Standing.FAIL]
    assert not wrong and found.exit_code == 0
    assert found.passed == len(BAD_CASES) and found.passed + found.not_available == 30


@pytest.mark.slow
@pytest.mark.parametrize("name", BAD_CASES)
def test_a_bug_turns_its_line_red(name: str) -> None:
    bug, words = BAD_CASES[name]
    found = played(name, bug=bug)
    (one,) = found.items
    assert one.standing is Standing.FAIL and found.exit_code == 1, one
    assert words in one.seen, one.seen


def test_one_that_there_is_not_is_told() -> None:
    with pytest.raises(KeysteadError, match="there is no assertion B1; there are A01 to A30") as c:
        played("B1")
    assert c.value.id == "KS-USE-002"


def test_the_command_has_a_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["conformance", "--assertion", "a12", "--assertion", "A23"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("A12 pass: ") and lines[1].startswith("A23 not available: ")
    assert run(["conformance", "--assertion", "B1"]) != 0
    assert "there is no assertion B1" in capsys.readouterr().err
