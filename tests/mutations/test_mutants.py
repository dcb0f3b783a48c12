"""How mutants are told: what survives, what is accepted, and when it is too much."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.mutations.mutants import (
    Equivalent,
    Mutant,
    accepted,
    alive,
    mutant_of,
    report,
    results,
    unaccepted,
)

SHOWN = """# chaos.keeper.x_f__mutmut_1: survived
--- chaos/keeper.py
+++ chaos/keeper.py
@@ -1,3 +1,3 @@
 def f(a: int) -> bool:
-    return a < 1
+    return a <= 1
"""
ONE = Mutant("chaos.keeper.x_f__mutmut_1", "chaos/keeper.py", "return a < 1", "return a <= 1")


def test_a_mutant_is_known_by_the_lines_that_differ() -> None:
    assert mutant_of(ONE.name, ONE.file, SHOWN) == ONE


def test_a_survivor_is_accepted_by_its_lines_and_a_needless_entry_is_told() -> None:
    entry = Equivalent(ONE.file, ONE.before, ONE.after, "nobody can see it")
    assert unaccepted([ONE], [entry]) == ([], [])
    assert unaccepted([ONE], []) == ([ONE], [])
    assert unaccepted([], [entry]) == ([], [entry])
    other = msgspec.structs.replace(entry, after="return a != 1")
    assert unaccepted([ONE], [other]) == ([ONE], [other])


def test_every_accepted_one_says_why() -> None:
    assert all(len(entry.why.split()) >= 4 for entry in accepted())


@pytest.mark.parametrize(("total", "good"), [(19, False), (20, True)])
def test_one_in_twenty_may_survive(total: int, good: bool) -> None:
    codes = {f"m{n}": 1 for n in range(total - 1)} | {ONE.name: 0}
    lines, passed = report({ONE.file: codes}, [ONE], [])
    assert passed == good
    assert lines[0] == f"chaos/keeper.py: 1 of {total} survive"
    assert lines[1:4] == [f"  {ONE.name}", "    - return a < 1", "    + return a <= 1"]


def test_nothing_run_is_not_good_enough() -> None:
    assert report({}, [], [])[1] is False


def test_results_are_of_mutants_that_were_run(tmp_path: Path) -> None:
    codes = {"a": 0, "b": 1, "c": None, "d": 34, "e": 33, "f": 5, "g": 2, "h": 37, "i": -24}
    kept = {"exit_code_by_key": codes}
    (tmp_path / "chaos").mkdir()
    (tmp_path / "chaos/keeper.py.meta").write_bytes(msgspec.json.encode(kept))
    (tmp_path / "chaos/other.py.meta").write_text('{"exit_code_by_key": {"f": null}}')
    run = results(tmp_path)
    told = {"a": 0, "b": 1, "e": 33, "f": 5, "h": 37, "i": -24}
    assert run == {"chaos/keeper.py": told}
    assert alive(run) == [(name, "chaos/keeper.py") for name in "aef"]
