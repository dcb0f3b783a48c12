"""Linters and types run beside the tests; one line at the end says what failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runner.__main__ import whole

OK = (sys.executable, "-c", "")


def python(program: str) -> tuple[str, str, str]:
    return sys.executable, "-c", program


def test_all_passes(capfd: pytest.CaptureFixture[str]) -> None:
    assert whole({"types": OK}, OK) == 0
    assert capfd.readouterr().err == ""


def test_what_fails_is_told_with_its_words_and_the_others_run(
    capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    broken = python("print('line 7 is wrong'); exit(3)")
    later = python(f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert whole({"types": broken, "later": later}, python("exit(1)")) == 1
    err = capfd.readouterr().err
    assert "keystead: types failed\nline 7 is wrong\n" in err
    assert err.endswith("keystead: failed: types pytest\n") and (tmp_path / "ran").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_tests_and_checks(number: signal.Signals, tmp_path: Path) -> None:
    begun = "import pathlib, time; pathlib.Path({!r}).touch(); time.sleep(60)"
    tests, check = tmp_path / "tests", tmp_path / "check"
    orderly = "import signal; signal.signal(15, signal.default_int_handler); "
    program = (
        "import sys; from tests.runner.__main__ import whole; "
        f"sys.exit(whole({{'check': {python(begun.format(str(check)))!r}}},"
        f" {python(orderly + begun.format(str(tests)))!r}))"
    )
    root = Path(__file__).parents[2]
    process = subprocess.Popen(python(program), cwd=root, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while not (tests.exists() and check.exists()) and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "KeyboardInterrupt" in err and "failed" not in err
