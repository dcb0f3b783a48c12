"""A stored run of the matrix is described and judged again; what was changed in it is noticed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from junitparser import JUnitXml

from chaos.matrix.grid import cells_of
from chaos.oracle.table import Cell
from chaos.oracle.terms import Block, Letter, TableEvent, TableFault
from lab.cli.experiments.stored_runs import check as check_command
from lab.cli.experiments.stored_runs import describe_run
from lab.local.matrix import story
from lab.local.stored.reports import lines_of, page_of, write_drawings, write_reports
from lab.local.stored.runs import check, describe
from lab.matrix.run import MatrixOrder, play_matrix
from lab.runs.store import RunFolder
from lab.schema.errors import KeysteadError
from protocol.messages.agent import TpmBackend

pytestmark = pytest.mark.sim
CHECKS = ["histories_whole", "evidence_is_there", "letters_as_written"]


def unheard(text: str, step: int, total: int) -> None:
    """Nobody listens."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """vCenter is away: one cell's letter waits for its return, and has two kinds of boot."""
    wanted = MatrixOrder(
        cells=cells_of((Block.S00,), (TableFault.F2,), (TableEvent.E3, TableEvent.E4)),
        mode="sim",
        tpm=TpmBackend.MODEL,
        seed=1,
        jobs=2,
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        return play_matrix(wanted, unheard)[0]


@pytest.fixture
def run(played: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A copy of it, to be changed."""
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    folder = RunFolder(played.run)
    for path in played.path.rglob("*.*"):
        target = folder.path / path.relative_to(played.path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    return folder


def changed(run: RunFolder, change: Callable[[Any], None]) -> None:
    value = msgspec.json.decode(run.read("matrix.json"))
    change(value)
    run.write("matrix.json", msgspec.json.encode(value))


def test_it_is_described_with_what_goes_on_from_it(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    found = describe(run.run)
    assert found.title == "the truth table, 2 cells: 2 agree, 0 disagree, 0 void"
    assert found.records > 50 and found.problem == "" and found.verdict is not None
    assert found.examples[1] == f"keystead matrix explain S00 F2 E3 --run {run.run}"
    describe_run(run.run)
    shown = capsys.readouterr().out
    assert "hosts" not in shown and f"try: keystead check {run.run}" in shown
    (run.path / "matrix.json").unlink()
    (run.path / "result.json").unlink()
    found = describe(run.run)
    assert "has no matrix.json" in found.problem and found.verdict is None and found.records > 50


def test_its_histories_bear_it_out(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    found = check(run.run)
    assert [(one.check, one.result) for one in found.items] == [(name, "pass") for name in CHECKS]
    assert found.verdict == "pass" and check_command(run.run) == 0
    assert "PASS" in capsys.readouterr().err
    with pytest.raises(KeysteadError) as caught:
        check(run.run, ["guests_read_back"])
    assert caught.value.id == "KS-USE-002"


@pytest.mark.parametrize(
    ("change", "fails", "text"),
    [
        (lambda m: m["cells"][0].update(observed="LK"), CHECKS[2], "LK, and its histories say OK"),
        (lambda m: m["cells"][1].update(observed="OK"), CHECKS[2], "OK, and its histories say LK"),
        (lambda m: m["cells"][1].update(event="E6"), CHECKS[1], "no record"),
        (lambda m: m["cells"][0]["evidence"][0].update(records=[1]), CHECKS[1], "no record 1"),
        (lambda m: m["cells"][0]["evidence"].clear(), CHECKS[2], "its histories say nothing"),
    ],
)
def test_a_cell_that_its_histories_do_not_bear_out(
    run: RunFolder, change: Callable[[Any], None], fails: str, text: str
) -> None:
    changed(run, change)
    found = check(run.run)
    failed = {one.check: one.text for one in found.items if one.result == "fail"}
    assert found.verdict == "fail" and text in failed[fails]


def test_a_letter_that_agrees_by_word_only(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    lie = Cell(Block.S00, TableFault.F2, TableEvent.E3, Letter.NO)
    monkeypatch.setattr("lab.local.stored.descriptions.cell", lambda *place: lie)
    failed = [one.text for one in check(run.run).items if one.result == "fail"]
    assert any("OK agrees, and the table says NO" in text for text in failed)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        (lambda m: m["cells"][0].update(verdict="void"), "unknown"),
        (lambda m: m.update(not_played=1), "unknown"),
        (lambda m: m["cells"][0].update(verdict="disagree"), "fail"),
        (lambda m: m["controls"][0].update(held=False), "fail"),
    ],
)
def test_it_is_judged_as_it_ended(
    run: RunFolder, change: Callable[[Any], None], verdict: str
) -> None:
    changed(run, change)
    found = check(run.run)
    assert found.verdict == verdict and {one.result for one in found.items} == {"pass"}


def test_a_history_that_was_changed_is_named(run: RunFolder) -> None:
    path = run.path / "stagings" / "S00-F2-orderly.msgpack"
    path.write_bytes(path.read_bytes()[:-3])
    failed = {one.check: one.text for one in check(run.run).items if one.result == "fail"}
    assert "S00-F2-orderly" in failed["histories_whole"] and set(failed) == set(CHECKS)
    assert "S00-F2-orderly" in describe(run.run).problem
    with pytest.raises(KeysteadError) as caught:
        story("S00", "F2", "E3", run=run.run, report=unheard)
    assert caught.value.id == "KS-CHAOS-204"
    path.write_bytes(b"")  # its lab was lost
    told = story("S00", "F2", "E3", run=run.run, report=unheard)
    assert told.stagings["S00-F2-orderly"] == ()


def test_its_report_is_a_page_pictures_and_cases(run: RunFolder, tmp_path: Path) -> None:
    made = write_reports(run.run, page=tmp_path / "a.html", junit=tmp_path / "a.xml")
    assert [path.name for path in made] == ["a.html", "a.xml"]
    assert "2 cells of the truth table" in (tmp_path / "a.html").read_text("utf-8")
    assert JUnitXml.fromfile(str(tmp_path / "a.xml")).failures == 0
    (drawn,) = write_drawings(run.run, tmp_path / "pictures")
    assert drawn == tmp_path / "pictures" / "S00.svg" and drawn.stat().st_size > 1000


def test_its_page_names_the_command_that_plays_the_same_cells(run: RunFolder) -> None:
    again = "keystead matrix --mode sim --tpm model --seed 1 --block S00 --fault F2"
    assert f"{again} --event E3 --event E4<" in page_of(run.run).decode()


def test_its_report_is_not_that_of_an_experiment(run: RunFolder) -> None:
    with pytest.raises(KeysteadError, match="side by side") as caught:
        page_of(run.run, run.run)
    assert caught.value.id == "KS-USE-003"
    with pytest.raises(KeysteadError, match="is a run of the matrix"):
        list(lines_of(run.run))


def test_what_such_a_run_has_not_is_said(run: RunFolder) -> None:
    with pytest.raises(KeysteadError, match="there is no run nothing"):
        RunFolder("nothing").read("plan.json")
