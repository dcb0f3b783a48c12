"""Help shows what is a command's own; other spellings of a command are understood."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.cli.main import run
from lab.cli.options import GENERAL
from lab.cli.program import spell_out


def test_general_options_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    whole = capsys.readouterr().out
    for names, text in GENERAL:
        assert names in whole and text.split(";")[0] in whole
    for line in (["vm", "encrypt"], ["up"], ["explain"], ["chaos", "run"]):
        assert run([*line, "--help"]) == 0
        out = capsys.readouterr().out
        assert out.count("--output") == out.count("--vcenter STR") == out.count("--quiet") == 0
        assert "General options (-o, -q, -n, --vcenter, --user): keystead --help" in out


@pytest.mark.parametrize("line", [["up"], ["events"], ["wait", "--for", "vm.on=all"], ["status"]])
def test_a_user_is_named_only_where_vcenter_is_given_something(
    line: list[str], here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*line, "--user", "alice"]) == 64
    assert "--user" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("help", "--help"),
        ("help vm on", "vm on --help"),
        ("ls", "list"),
        ("top --once", "watch --once"),
        ("get vm vm-01", "get vms vm-01"),
        ("get host -o wide", "get hosts -o wide"),
        ("vm list", "get vms"),
        ("host list -q", "get hosts -q"),
        ("kms list", "get kms"),
        ("chaos list sc-", "chaos list sc-"),
        ("get vms", "get vms"),
        ("host dump list esxi-001", "host dump list esxi-001"),
    ],
)
def test_other_spellings_are_understood(typed: str, meant: str) -> None:
    assert spell_out(typed.split()) == meant.split()
