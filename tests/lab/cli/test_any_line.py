"""Any words after ``keystead`` end in an answer or an error with an id: no defect, no traceback.

``KEYSTEAD_LINES=10000`` tries that many instead of sixty; ``KEYSTEAD_SEED`` begins elsewhere.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from lab.cli.main import run
from tests.lab.api.arguments import HOSTILE, KINDS, NAMES, SELECTORS, TEXTS

COUNT = int(os.environ.get("KEYSTEAD_LINES", "60"))
FIRST = int(os.environ.get("KEYSTEAD_SEED", "1"))
IN_ONE_TEST = 30
COMMANDS = (
    *("get hosts", "get vms", "get keys", "get links", "get nodes", "get tpm", "get events"),
    *(
        "events",
        "logs",
        "status",
        "list",
        "version",
        "faults",
        "heal",
        "runs",
        "report",
        "vm create",
    ),
    *("vm encrypt", "host add", "host reboot", "host power-loss", "link cut", "vm on", "esx"),
    *("link delay", "link loss", "fault", "fault link.cut", "kms key", "provider add"),
    *("chaos lint", "chaos plan", "chaos replay", "explain", "explain fault", "explain knob"),
    *("explain probe", "schema", "down", "tpm clear", "nothing", "get", "", "describe vm"),
)
OPTIONS = (
    "--name",
    "-n",
    "--output",
    "-o",
    "--for",
    "--set",
    "--after",
    "--seed",
    "--level",
    "--x",
)


def line(draw: random.Random) -> list[str]:
    """Words of a command line; ``up`` and what starts a lab are not among them."""
    words = draw.choice(COMMANDS).split()
    for _ in range(draw.randrange(4)):
        if draw.random() < 0.3:
            words.append(draw.choice(OPTIONS))
        words.append(draw.choice(draw.choice((NAMES, SELECTORS, TEXTS, HOSTILE, KINDS))))
    return [word.replace("\0", "") for word in words if word not in ("-f", "--follow", "--help")]


@pytest.mark.slow
@pytest.mark.timeout(60 + COUNT)
@pytest.mark.parametrize("batch", range(FIRST, FIRST + -(-COUNT // IN_ONE_TEST)))
def test_any_line_is_answered_or_refused(
    batch: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONUTF8", "1")
    draw = random.Random(batch)
    for _ in range(IN_ONE_TEST):
        words = line(draw)
        try:
            code = run(words)
        except BaseException as error:
            raise AssertionError(f"batch {batch}: {error!r} for {words!r}") from error
        out, err = capsys.readouterr()
        story = f"batch {batch}: {code} for {words!r}: {err}"
        assert code in (0, 1, 4, 64, 69), story
        assert "KS-INT" not in err and "Traceback" not in out + err, story
        for text in (out, err):
            assert text.replace("\n", "").replace("\t", "").isprintable(), story
        assert code == 0 or err.startswith("keystead: error KS-") or code == 4, story
    assert not list(tmp_path.rglob("lab.json"))
