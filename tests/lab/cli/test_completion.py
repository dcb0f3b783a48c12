"""What a shell is offered at the press of Tab."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.cli.running.waiting import SCRIPTS
from tests.tidy.tree import ROOT


def offered(
    line: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> list[str]:
    words = line.split(" ")
    monkeypatch.setenv("CYCLOPTS_COMPLETION_WORDS", "".join(f"{word}\x1f" for word in words))
    assert run(["__complete"]) == 0
    lines = capsys.readouterr().out.splitlines()
    return [line.partition("\t")[0] for line in lines if not line.startswith("\x1f")]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_script_is_short(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["completion", shell]) == 0
    out = capsys.readouterr().out
    assert out == SCRIPTS[shell] and len(out.splitlines()) < 30


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("chaos r", {"run", "replay"}),
        ("chaos run edge-", {"edge-outage-reboot"}),
        ("chaos lint sc-0", {"sc-01-site-power-loss-kms-away"}),
        ("fault host.power", {"host.power_loss"}),
        ("explain probe vm.r", {"vm.running"}),
        ("explain fault link.c", {"link.cut"}),
        ("wait --for vm.lo", {"vm.locked="}),
        ("up ed", {"edge"}),
        ("lab new x --from tr", {"trusted"}),
        ("vm encrypt --pro", {"--provider"}),
    ],
)
def test_names_of_the_program_are_offered(
    line: str,
    wanted: set[str],
    here: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert set(offered(line, monkeypatch, capsys)) >= wanted


def test_runs_and_files_are_offered(
    here: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (here / "runs" / "small-sim-1").mkdir(parents=True)
    (here / "runs" / "small-sim-1" / "run.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text("")
    for line in ("chaos replay ", "report ", "watch --run ", "describe run ", "check "):
        assert "small-sim-1" in offered(line, monkeypatch, capsys), line
    for line in ("up mi", "chaos run mi", "lab lint mi"):
        assert "mine.yaml" in offered(line, monkeypatch, capsys), line


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_by_the_script(here: Path, tmp_path: Path) -> None:
    program = tmp_path / "bin" / "keystead"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m lab.cli.main "$@"\n')
    program.chmod(0o755)
    line = "COMP_WORDS=(keystead chaos repl); COMP_CWORD=2; _keystead; echo ${COMPREPLY[@]}"
    shown = subprocess.run(
        ["bash", "-c", f"{SCRIPTS['bash']}\n{line}"],
        env={
            **os.environ,
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert shown.stdout == "replay\n", shown.stderr
