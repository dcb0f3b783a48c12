"""``matrix`` at a terminal: a grid with signs, disagreements first, documents, exit codes."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run
from protocol.messages.agent import TpmBackend
from tests.lab.cli.conftest import Cli

pytestmark = pytest.mark.sim


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.mark.slow
def test_a_part_of_the_table_as_a_grid_and_as_a_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    part = ["matrix", "--block", "s00", "--fault", "F1", "--event", "E3", "--event", "E4"]
    assert run([*part, "--progress", "plain"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [
        ["S00", "E3", "E4"],
        ["F1", "OK", "✔", "LK", "✔"],
    ]
    assert "] play: S00-F1-" in err and "2 agree, 0 disagree, 0 void" in err
    assert run([*part, "-q", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["kind"], made["tpm"], made["exit_code"]) == ("Matrix", TpmBackend.MODEL, 0)
    assert [(cell["event"], cell["expected"], cell["observed"]) for cell in made["items"]] == [
        ("E3", "OK", "OK"),
        ("E4", "LK", "LK"),
    ]
    assert run(["get", "runs", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == ["matrix-sim-1", "matrix-sim-1-2"]


@pytest.mark.slow
def test_names_are_what_explain_takes(capsys: pytest.CaptureFixture[str]) -> None:
    part = ["matrix", "--block", "S00", "--block", "S10", "--fault", "F0", "--event", "E3"]
    assert run([*part, "-o", "name"]) == 0
    names = capsys.readouterr().out.splitlines()
    assert names == ["S00 F0 E3", "S10 F0 E3"]
    for name in names:
        assert run(["matrix", "explain", *name.split()]) == 0


@pytest.mark.slow
def test_an_interrupted_run_tells_what_was_played(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.matrix.players import Stages

    begun = Stages.play_each

    def interrupted(self: Stages, stagings: Any, done: Any, **more: Any) -> None:
        begun(self, stagings[:1], done, **more)
        raise KeyboardInterrupt

    monkeypatch.setattr(Stages, "play_each", interrupted)
    part = ["matrix", "--block", "S00", "--fault", "F0", "--fault", "F8", "--event", "E3"]
    assert run(part) == 130
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()] == [["S00", "E3"], ["F0", "OK", "✔"]]
    assert "interrupted: 1 of 2 cells were not played" in err
    assert run(["get", "runs", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["verdict"] == "interrupted"


@pytest.mark.slow
def test_what_disagrees_comes_first_and_decides_the_exit_code(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from chaos.oracle import table
    from chaos.oracle.terms import Block, Letter, TableEvent, TableFault

    lie = table.Cell(Block.S00, TableFault.F0, TableEvent.E3, Letter.NO)
    monkeypatch.setattr("chaos.matrix.grid.cell", lambda *place: lie)
    part = ["matrix", "--block", "S00", "--fault", "F0", "--event", "E3"]
    assert run([*part, "-o", "wide"]) == 1
    capsys.readouterr()
    assert run(part) == 1
    out, err = capsys.readouterr()
    grid = out[out.rindex("✗ S00 F0 E3 disagree") :]
    assert "OK, and the table says NO" in grid and "OK ✗" in grid
    assert "0 agree, 1 disagree, 0 void" in err


def test_a_name_that_the_table_has_not_is_one_clear_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["matrix", "--block", "Z1"]) == 64
    assert "KS-USE-002" in capsys.readouterr().err


@pytest.mark.slow
def test_the_door_of_key_servers_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    part = ["matrix", "--block", "S00", "--fault", "F0", "--event", "E3", "--transport"]
    assert run([*part, "kmip"]) == 0
    assert "sim, key servers by kmip, tpm model" in capsys.readouterr().err
    assert run([*part, "kmip", "-q", "-o", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["transport"] == "kmip"
    assert run([*part, "http"]) == 64
    err = capsys.readouterr().err
    assert "KS-USE" in err and "http" in err and "bus" in err and "kmip" in err


@pytest.mark.slow
def test_a_cell_is_told_as_a_story(capsys: pytest.CaptureFixture[str]) -> None:
    """Played now when no run has it; then from the last run that has."""
    explain = ["matrix", "explain", "S00", "f1", "E4"]
    assert run([*explain, "-q"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("S00 F1 E4: ✔ agree\n")
    for words in (
        "F1: No key server of the provider can be reached",
        "R6: The key is in no place that can be reached",
        "S00-F1-orderly, run matrix-sim-1",
        "S00-F1-power_loss",
        "the fault F1 begins",
        "vcenter is asked: PowerOnVm (vm e4-off)",
        "vcenter refuses: EncryptionKeyRequired",
        "the letters are fixed: E4 LK",
    ):
        assert words in out
    assert run([*explain, "--run", "matrix-sim-1", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["kind"] == "CellStory" and made["cell"]["evidence"][0]["run"] == "matrix-sim-1"
    assert set(made["stagings"]) == {"S00-F1-orderly", "S00-F1-power_loss"}
    assert run(["get", "runs", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == ["matrix-sim-1"]
    assert run(["matrix", "explain", "S00", "F1", "E3", "--run", "matrix-sim-1"]) == 64
    assert "has not played S00 F1 E3" in capsys.readouterr().err
    assert run(["matrix", "explain", "T10", "F1", "E12"]) == 64
    assert "KS-USE-004" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_and_what_was_played_is_told(cli: Cli, number: signal.Signals) -> None:
    begun = cli.begin("matrix", "--block", "S00", "--jobs", "1", "--progress", "plain")
    assert begun.stderr is not None
    assert begun.stderr.readline().startswith("[1/")
    begun.send_signal(number)
    _, err = begun.communicate(timeout=60)
    assert begun.returncode == 130, err
    assert "cells were not played" in err and "Traceback" not in err


def test_a_story_that_is_interrupted_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    from lab.matrix.players import Stages

    def interrupted(self: Stages, stagings: Any, done: Any, **more: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Stages, "play_each", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(["matrix", "explain", "S00", "F0", "E3", "-q"])


@pytest.mark.slow
def test_letters_are_whole_on_a_narrow_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    part = ["matrix", "--block", "S00", "--fault", "F7", "--event", "E2", "--event", "E9"]
    monkeypatch.setenv("COLUMNS", "12")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert run(part) == 0
    grid = capsys.readouterr().out.splitlines()
    assert [line.split() for line in grid] == [
        ["S00", "E2", "E9"],
        ["F7", "UNSAFE", "✔", "NO", "✔"],
    ]
    assert all(line == line.rstrip() for line in grid)
