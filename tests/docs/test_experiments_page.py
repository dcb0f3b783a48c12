"""The page of experiments shows a file that is without errors, and passes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lab.cli.experiments.chaos import run
from lab.play.prepare import problems

PAGE = Path(__file__).parents[2] / "docs" / "experiments.md"


@pytest.mark.sim
def test_the_file_of_the_page_is_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "state"))
    found = re.search(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert found is not None
    file = tmp_path / "page.yaml"
    file.write_text(found[1])
    assert problems(file) == ()
    assert run(str(file), mode="sim") == 0
