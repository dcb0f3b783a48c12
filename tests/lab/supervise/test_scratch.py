"""Folders that nobody shall find again: gone after their block, collected after a kill."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.schema.errors import KeysteadError
from lab.state.scratch import collect, move_away, scratch
from lab.state.state_folder import LabFolder
from lab.supervise.launching import ROOT

HOLDER = """
import sys
from lab.state.scratch import scratch
with scratch("run") as folder:
    (folder / "identity").write_text("a seed")
    print(folder, flush=True)
    sys.stdin.readline()
"""


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    return tmp_path


def test_a_folder_is_gone_after_its_block_however_that_ends() -> None:
    with pytest.raises(ValueError), scratch("run") as folder:
        assert folder.is_dir() and folder.name.startswith("run-")
        raise ValueError
    assert not folder.exists()


def test_what_a_killed_process_leaves_is_collected_and_what_a_living_one_has_stays() -> None:
    command = [sys.executable, "-c", HOLDER]
    child = subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True)
    assert child.stdout is not None
    folder = Path(child.stdout.readline().strip())
    collect()
    assert (folder / "identity").exists(), "it lives"
    child.kill()
    child.communicate()
    collect()
    assert not folder.exists()


@pytest.mark.parametrize("below", ["", "labs"])
@pytest.mark.parametrize("line", ["list", "runs", "get runs", "down", "status", "get vms", "logs"])
def test_a_file_in_place_of_the_state_folder_is_told(
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    below: str,
    line: str,
) -> None:
    """It is no folder without labs: whoever mistyped it would look for them elsewhere."""
    file = home / "a file"
    file.write_text("")
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(file / below))
    assert run(line.split()) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"error KS-LAB-005: {file / below}: {file} is no folder" in said.err
    assert "fix: name a folder with KEYSTEAD_STATE_HOME" in said.err


def test_a_lab_leaves_its_place_in_one_step(home: Path) -> None:
    folder = LabFolder("one")
    folder.make()
    (folder.path / "lab.json").write_text("{}")
    gone = move_away(folder.path)
    assert not folder.path.exists() and gone.parent == home / "scratch"
    assert (gone / "lab.json").exists(), "all of it, or nothing"
    collect()
    assert not gone.exists()


def test_a_lab_that_cannot_leave_its_place_stays_whole(home: Path) -> None:
    folder = LabFolder("one")
    folder.make()
    (folder.path / "lab.json").write_text("{}")
    (home / "scratch").write_text("no folder")
    with pytest.raises(KeysteadError) as raised:
        folder.purge()
    assert raised.value.id == "KS-LAB-005" and (folder.path / "lab.json").exists()


def test_nothing_to_collect_makes_nothing(home: Path) -> None:
    collect()
    assert list(home.iterdir()) == []
