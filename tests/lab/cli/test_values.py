"""Durations, shares, NAME=VALUE."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from lab.cli.arguments import assignments, boot_options, duration, share
from lab.schema.errors import KeysteadError
from lab.topology.secret_files import secret_in


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0.0), ("30s", 30.0), ("250ms", 0.25), ("5m", 300.0), ("1h", 3600.0), ("1.5s", 1.5)],
)
def test_durations_are_lab_seconds(text: str, seconds: float) -> None:
    assert duration("--for", text) == seconds


@pytest.mark.parametrize("text", ["5", "5.5", "s", "-5s", "5d", "1000h", "5s 5s"])
def test_other_durations_are_refused(text: str) -> None:
    with pytest.raises(KeysteadError) as raised:
        duration("--for", text)
    assert raised.value.id == "KS-USE-003" and "--for" in str(raised.value)


def test_shares() -> None:
    assert [share("p", t) for t in ("20%", "0.2", "100%", "1", "0")] == [0.2, 0.2, 1.0, 1.0, 0.0]
    for text in ("-1", "1.1", "110%", "most", ""):
        with pytest.raises(KeysteadError):
            share("p", text)


def test_assignments_have_values_as_in_yaml() -> None:
    made = assignments("--set", ["a=true", "b=12", "c=[1, 7]", "d=30s", "e=x=y", "f=", "g=: :"])
    assert made == {
        "a": True,
        "b": 12,
        "c": [1, 7],
        "d": "30s",
        "e": "x=y",
        "f": None,
        "g": ": :",
    }
    as_text = ["!!bool x", "!!int ''", "[" * 3000, "9" * 5001, "*x", "{a: 1, a: 2}", "x\x07"]
    for text in as_text:
        assert assignments("--set", [f"a={text}"]) == {"a": text}
    for bad in (["a"], ["=1"], ["a=1", "a=2"]):
        with pytest.raises(KeysteadError):
            assignments("--set", bad)


def test_a_passphrase_comes_by_standard_input_only() -> None:
    with pytest.raises(KeysteadError) as raised:
        boot_options(["kmsPassphrase=correct horse battery"])
    assert "horse" not in str(raised.value) and "passphrase would be visible" in str(raised.value)
    assert "kmsPassphrase=-" in raised.value.fix


@pytest.mark.parametrize("words", ["correct horse ", "  correct horse", "\tкорова и лошадь\u00a0"])
@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_a_passphrase_that_is_typed_is_the_one_in_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, end: str
) -> None:
    """Blanks at its ends too: else what a file has set opens nothing at a console."""
    (tmp_path / "words").write_bytes((words + end).encode())
    monkeypatch.setattr("sys.stdin", io.StringIO(words + end, newline=""))
    assert boot_options(["kmsPassphrase=-"]) == {
        "kmsPassphrase": secret_in(str(tmp_path / "words"))
    }


def test_a_recovery_key_comes_by_standard_input_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a command line every user of the machine could read it, and a shell would keep it."""
    key = "-".join(["123456"] * 16)
    with pytest.raises(KeysteadError) as raised:
        boot_options([f"encryptionRecoveryKey={key}"])
    assert raised.value.id == "KS-USE-003" and key not in str(raised.value)
    assert "encryptionRecoveryKey=-" in raised.value.fix
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{key}\n"))
    assert boot_options(["encryptionRecoveryKey=-", "a=b"]) == {
        "encryptionRecoveryKey": key,
        "a": "b",
    }
