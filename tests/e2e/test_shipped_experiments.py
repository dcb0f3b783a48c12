"""Every shipped experiment in virtual time: it passes, and fails with its planted bug as it says.

The catalogue of failure scenarios has 50 ids; each has its file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from chaos.checks.result import CheckOutcome
from chaos.experiment.document import FileHeading, read_heading
from chaos.experiment.lint import check_experiment
from chaos.verdict import Exit, Verdict, unlike
from lab.local.experiment_files import experiments
from lab.play.prepare import list_shipped
from services.runtime.sim.runner import run_in_worker
from tests.mutations.play import run_experiment, shared_server

SCENARIOS: Final = tuple(f"SC-{number:02}" for number in range(1, 51))
BY_CHANGES: Final = frozenset({"edge-outage-reboot", "ha-restart", "outage-without-persistence"})
"""Files whose negative control is another lab: ``tests/e2e/test_experiments.py`` plays it."""

FILES: Final = {path.stem: path for path in list_shipped()}
HEADS: Final = {
    name: read_heading(path.read_text(encoding="utf-8")) for name, path in FILES.items()
}
_RULE: Final = re.compile(r"\b[A-Z]{2,5}-\d\d[a-z]?\b")
_NUMBERED: Final = re.compile(r"sc-(?P<number>\d\d)(?:-[a-z0-9]+)+")


def played(name: str, *, bug: str = "", seed: int | None = None) -> Verdict:
    return run_in_worker(run_experiment, bug, name, seed, {}, server=shared_server())


# ---- the catalogue -------------------------------------------------------------------------------


def files_of(scenario: str) -> list[str]:
    return [name for name in FILES if name.startswith(f"{scenario.lower()}-")]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_each_scenario_has_one_file(scenario: str) -> None:
    assert len(files_of(scenario)) == 1


def amiss(name: str, head: FileHeading, text: str) -> list[str]:
    """What the file of a scenario does not have as all of them do."""
    found = _NUMBERED.fullmatch(name)
    rules = [rule for rule in _RULE.findall(head.comment) if not rule.startswith("SC-")]
    wanted = {
        "a name such as sc-01-few-words": found is not None and int(found["number"]) <= 50,
        "its name in the file": f"\nname: {name}\n" in text,
        "a question that begins with What if": re.fullmatch(r"What if .+\?", head.title),
        "what must hold": "What must hold:" in head.comment,
        "the rules why": bool(rules),
        "the cure": "Cure:" in head.comment,
        "its negative control": "Negative control:" in head.comment
        and "\nnegative_control:" in text,
    }
    return [what for what, there in wanted.items() if not there]


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("sc-")])
def test_the_file_of_a_scenario_tells_what_happens_what_must_hold_and_the_cure(name: str) -> None:
    assert amiss(name, HEADS[name], FILES[name].read_text(encoding="utf-8")) == []


def test_a_file_that_tells_nothing_is_found() -> None:
    found = amiss("sc-1", read_heading("title: Something"), "title: Something")
    assert len(found) == 7


# ---- played --------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("name", FILES)
def test_it_passes(name: str) -> None:
    verdict = played(name)
    red = {c.name: c.text for c in verdict.checks if c.result is CheckOutcome.FAIL}
    left = [fault for fault in verdict.left if fault.reversible]  # what has no undo may stay
    assert (verdict.exit_code, red, verdict.reasons, left) == (Exit.PASS, {}, (), [])


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("load-")])
def test_a_load_passes_whatever_its_seed_draws(name: str) -> None:
    verdict = played(name, seed=11)
    red = {c.name: c.text for c in verdict.checks if c.result is CheckOutcome.FAIL}
    assert (verdict.exit_code, red) == (Exit.PASS, {})


@pytest.mark.sim
@pytest.mark.slow
@pytest.mark.parametrize("name", sorted({*FILES} - BY_CHANGES))
def test_with_its_planted_bug_it_fails_as_it_says(name: str) -> None:
    control = check_experiment(FILES[name].read_text(encoding="utf-8"), name).control
    assert control is not None
    verdict = played(name, bug=control.bug)
    assert unlike(verdict, control.expect) == ""


def test_a_list_of_experiments_can_be_asked_for_a_word(tmp_path: Path) -> None:
    assert {row.experiment for row in experiments().items} == {*FILES}
    found = {row.experiment for row in experiments(["SC-01"]).items}
    assert found == {*files_of("SC-01")}
    spoken = {row.experiment for row in experiments(["key server", "persistence"]).items}
    assert "edge-outage-reboot" in spoken and "ha-restart" not in spoken
    assert experiments(["levitation"]).items == ()
