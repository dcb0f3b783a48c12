"""``keystead try`` plays the story, and leaves nothing behind."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from lab.cli.main import run
from lab.cli.program import build
from tests.lab.cli.conftest import Cli


def test_each_step_says_why_and_is_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["try", "--list"]) == 0
    out = capsys.readouterr().out
    commands = re.findall(r"^  \$ \S*keystead (.+)$", out, re.M)
    assert len(commands) >= 10 and "--purge" in commands[-1]
    for command in commands:
        assert "--name try" in command
        build().parse_args(shlex.split(command), print_error=False, exit_on_error=False)
    texts = [part for part in re.split(r"  \$ .+\n", out) if part.strip()]
    assert len(texts) == len(commands) and all(len(text.split()) > 3 for text in texts)


def test_a_lab_of_that_name_is_left_alone(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "labs" / "try").mkdir(parents=True)
    assert run(["try"]) == 64
    assert "keystead down --purge --name try" in capsys.readouterr().err
    assert (here / "labs" / "try").exists()


@pytest.mark.slow
@pytest.mark.lab
def test_the_story_is_played(cli: Cli) -> None:
    played = cli.ok("try")
    assert "LOCK-01" in played.out and "cure: keystead heal --all" in played.out
    assert "link-cut-1  healed" in played.out
    assert cli.labs() == [] and cli.alone()
