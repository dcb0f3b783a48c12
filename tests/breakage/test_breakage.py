"""Bugs are of one line each, drawn by a seed, and reach the process that they are planted in."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from services.runtime.sim.runner import run_in_worker
from tests.breakage import bugs, planting
from tests.breakage.bugs import ROOT, Bug, broken, bugs_of, draw, probed
from tests.breakage.early import FILE
from tests.breakage.outsider import BUG, SITE, likely
from tests.breakage.planting import plant, probe
from tests.breakage.table import Row, differences, keep, kept, summary

STATES = "services/kms/objects/key_row.py"
EVERYTHING = '''
def decides(a: int, b: int) -> bool:
    """Text 1 is no constant of it."""
    if a < b and not b:
        store(a, b)
        a += 1
    return any(x for x in (a, b) if x > 2)

def formats(a: int = 1) -> str:
    return str(a)
'''


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of its own, with one package of one file."""
    monkeypatch.setattr(bugs, "ROOT", tmp_path)
    (tmp_path / "made").mkdir()
    (tmp_path / "made/some.py").write_text(EVERYTHING)
    return tmp_path


@cache
def of_states() -> dict[tuple[str, str], Bug]:
    return {(bug.before, bug.after): bug for bug in bugs_of(STATES)}


def stops_late() -> Bug:
    return of_states()["now < protect_stop", "now <= protect_stop"]


def test_each_way_to_break_a_line_is_found_and_what_decides_nothing_is_left_alone(
    tree: Path,
) -> None:
    found = {(bug.kind, bug.before, bug.after) for bug in bugs_of("made/some.py")}
    assert found == {
        ("compare", "a < b", "a <= b"),
        ("compare", "a < b", "a >= b"),
        ("drop operand", "a < b and (not b)", "a < b"),
        ("drop operand", "a < b and (not b)", "not b"),
        ("negate operand", "a < b and (not b)", "not a < b and (not b)"),
        ("negate operand", "a < b and (not b)", "a < b and (not not b)"),
        ("drop not", "not b", "b"),
        ("never", "if a < b and (not b):", "if False:"),
        ("always", "if a < b and (not b):", "if True:"),
        ("swap arguments", "store(a, b)", "store(b, a)"),
        ("delete", "store(a, b)", "nothing"),
        ("delete", "a += 1", "nothing"),
        ("constant", "1", "2"),
        ("constant", "1", "0"),
        ("constant", "2", "3"),
        ("constant", "2", "1"),
        ("compare", "x > 2", "x >= 2"),
        ("compare", "x > 2", "x <= 2"),
        ("drop filter", "for x in (a, b) if x > 2", "for x in (a, b)"),
        (
            "return",
            "return any((x for x in (a, b) if x > 2))",
            "return not any((x for x in (a, b) if x > 2))",
        ),
    }


def test_a_bug_changes_its_own_line_and_no_other(tree: Path) -> None:
    sound = ast.unparse(ast.parse(EVERYTHING)).splitlines()
    for bug in bugs_of("made/some.py"):
        text = ast.unparse(broken(bug)).splitlines()
        other = [n for n, lines in enumerate(zip(sound, text, strict=True)) if len(set(lines)) > 1]
        assert len(other) == 1, bug


def test_a_seed_draws_the_same_bugs_again_and_another_seed_draws_others(tree: Path) -> None:
    first = draw(8, 1, ("made",))
    assert len({bug.name for bug in first}) == len(first) == 8
    assert first == draw(8, 1, ("made",)) != draw(8, 2, ("made",))
    assert len(draw(100, 1, ("made",))) == len(bugs_of("made/some.py"))


def _protects(bug: Bug | None) -> list[bool]:
    from protocol.terms import KmipState
    from services.kms.objects.key_row import protects

    if bug is not None:
        plant(bug)
    return [protects(KmipState.ACTIVE, 5.0, now) for now in (4.0, 5.0, 6.0)]


def test_who_has_imported_a_function_calls_the_broken_one() -> None:
    bug = stops_late()
    assert run_in_worker(_protects, None) == [True, False, False]
    assert run_in_worker(_protects, bug) == [True, True, False]


def test_a_bug_whose_function_is_nowhere_is_told() -> None:
    bug = dataclasses.replace(stops_late(), function="gone")
    with pytest.raises(LookupError, match=f"{STATES} has no function"):
        plant(bug)


def _reached(some: list[Bug]) -> tuple[set[int], list[bool]]:
    probe(some)
    return planting.reached, _protects(None)


def test_probes_note_the_places_that_were_come_to_and_change_nothing() -> None:
    here = stops_late()
    there = next(bug for bug in of_states().values() if bug.function != here.function)
    assert run_in_worker(_reached, [there, here]) == ({1}, [True, False, False])


def test_a_probe_stands_before_the_statement_of_its_bug(tree: Path) -> None:
    some = bugs_of("made/some.py")
    inner = next(bug for bug in some if bug.kind == "swap arguments")
    lines = ast.unparse(probed("made/some.py", [(7, inner)], "note")).splitlines()
    place = next(n for n, line in enumerate(lines) if "store" in line)
    assert lines[place - 1].strip() == "note(7)"


def test_a_name_for_the_patch_of_a_lab_plants_a_bug(tmp_path: Path) -> None:
    file = tmp_path / "bugs.json"
    file.write_text(json.dumps([dataclasses.asdict(stops_late())]))
    assert run_in_worker(_early, str(file), "bug_0") == [True, True, False]
    assert run_in_worker(_early, str(file), "probes") == [True, False, False]


def _early(file: str, name: str) -> list[bool]:
    os.environ[FILE] = file
    __import__(f"tests.breakage.early.{name}")
    return _protects(None)


def test_a_process_that_starts_has_the_bug_that_its_environment_describes() -> None:
    bug = stops_late()
    program = (
        "from protocol.terms import KmipState; from services.kms.objects.key_row import protects;"
        "print(protects(KmipState.ACTIVE, 5.0, 5.0))"
    )
    path = os.pathsep.join((str(SITE), str(ROOT)))
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": path, **more},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout.strip()
        for more in ({}, {BUG: json.dumps(dataclasses.asdict(bug))})
    ]
    assert said == ["False", "True"]


def test_the_test_of_a_module_is_the_most_likely_to_see_its_bugs() -> None:
    bug = stops_late()
    assert likely(bug, 3)[0] == "tests/services/kms/test_key_row.py"
    assert len(likely(bug, 3)) == 3


SEEN = Row(bug="a", judge="fuzz", said="check states", where="seed 1")
UNSEEN = Row(bug="a")
FAR = Row(bug="b", reached=False)


def test_a_table_is_kept_and_compared_with_the_one_before(tmp_path: Path) -> None:
    file = tmp_path / "seen.json"
    assert kept(file) == {}
    keep("product, seed 1", (SEEN, FAR), file)
    keep("tests, seed 1", (UNSEEN,), file)
    assert kept(file) == {"product, seed 1": (SEEN, FAR), "tests, seed 1": (UNSEEN,)}
    assert differences((SEEN, FAR), (SEEN, FAR)) == []
    assert differences((SEEN,), (UNSEEN,)) == ["  no longer seen by fuzz: a"]
    assert differences((UNSEEN,), (SEEN,)) == ["  seen now by fuzz: a"]
    assert differences((), (SEEN,)) == []


def test_a_summary_says_who_saw_how_many_and_names_the_others() -> None:
    assert summary((SEEN, FAR)) == [
        "1 of 2 bugs seen (50%): fuzz 1",
        "1 are in places that a run came to, and 100% of these seen",
        "  not seen: b (no run came to it)",
    ]
    assert summary((UNSEEN,))[0] == "0 of 1 bugs seen (0%): by nobody"
