"""``chaos sweep`` at a terminal: counts by effect, violations with the way to play them again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.runs.store import RunFolder

pytestmark = pytest.mark.sim


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("FORCE_COLOR", raising=False)


@pytest.mark.slow
def test_counts_by_effect_as_a_table_and_as_a_document(
    capsys: pytest.CaptureFixture[str],
) -> None:
    only = ["chaos", "sweep", "--only", "keystore/*:disk.append:bootbank/state.tgz:1@"]
    assert run([*only, "--jobs", "1", "--progress", "plain"]) == 0
    out, err = capsys.readouterr()
    table = [line.split() for line in out.splitlines()]
    assert table[0] == ["STORE", "EFFECT", "PLAYS", "OLD", "NEW", "BETWEEN", "REFUSED", "WRONG"]
    assert ["keystore", "before:torn", "1", "1", "0", "0", "0", "0"] in table
    assert "7 plays of 1 points, 0 broke a rule; run sweep-sim-1, tpm model" in err
    assert run([*only, "-q", "-o", "json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert (made["kind"], made["plays"], made["items"]) == ("Sweep", 7, [])
    assert run(["get", "runs", "-o", "name"]) == 0
    assert capsys.readouterr().out.split() == ["sweep-sim-1", "sweep-sim-1-2"]
    assert run(["describe", "run", "sweep-sim-1"]) == 0
    out = capsys.readouterr().out
    assert "the crash sweep, 7 plays of 1 points: none broke a rule" in out
    assert "keystead chaos sweep --tpm model --seed 1" in out
    assert run(["report", "sweep-sim-1"]) == 64
    assert "`keystead describe run sweep-sim-1` tells of it" in capsys.readouterr().err


def test_a_run_that_was_kept_before_its_processor_time_was_measured_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    point = "*disk.append*:1@before:torn"
    assert run(["chaos", "sweep", "--store", "keystore", "--only", point]) == 0
    file = RunFolder("sweep-sim-1").path / "sweep.json"
    kept = json.loads(file.read_text())
    del kept["cpu_seconds"]
    file.write_text(json.dumps(kept))
    capsys.readouterr()
    assert run(["describe", "run", "sweep-sim-1"]) == 0
    assert "the crash sweep, 1 plays of 1 points" in capsys.readouterr().out


@pytest.mark.slow
def test_a_violation_names_its_point_and_the_command_that_plays_it_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bug = ["--patch", "tests.mutations.bugs:torn_piece_accepted"]
    part = ["chaos", "sweep", "--store", "keystore", "--only", "*disk.append*:1@before:torn"]
    assert run([*part, *bug]) == 1
    out, err = capsys.readouterr()
    assert (
        "✗ keystore/esxi-001:archive.Archive._append_addition:disk.append:bootbank/state.tgz:1@"
        in out
    )
    assert "in: add a key (not acknowledged)" in out and "does not serve again" in out
    assert "1 broke a rule" in err
    again = next(line for line in out.splitlines() if line.startswith("  again: "))
    words = shlex.split(again.removeprefix("  again: "))
    assert run([*words[1:], "-o", "json"]) == 1
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["step"] == "add a key" and item["records"]


def test_what_cannot_be_swept_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["chaos", "sweep", "--jobs", "99"]) == 64
    assert run(["chaos", "sweep", "--store", "kms", "--only", "kms/tape"]) == 64
    assert "KS-USE-005" in capsys.readouterr().err
