"""What no wheel holds is found in a checkout, and missed with a clear error elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cli.main import run
from lab.state import checkout


@pytest.mark.parametrize("words", [["bench", "--list"], ["chaos", "sweep"]])
def test_a_command_that_needs_a_checkout_says_so_elsewhere(
    words: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(checkout, "CHECKOUT", tmp_path)
    assert run(words) == 64
    told = capsys.readouterr().err
    assert "KS-USE-006" in told and f"keystead {words[0]}" in told and "./keystead bench" in told


def test_a_patch_is_a_module_or_a_function_of_one() -> None:
    assert checkout.is_patch("tests.lab.fuzz.planted_nowhere") is False
    assert checkout.is_patch("tests.mutations.bugs:no_such_bug") is False
    assert checkout.is_patch("tests.mutations.bugs:no_autostart") is True
    assert checkout.is_patch("tests.mutations.bugs") is True
