"""``load kmip`` against a key server of ours: one for all tests of the file."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab.cli.main import run
from tests.lab.kmip.test_serve import serving

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[str]]:
    """The command line, as far as it says where and who."""
    folder = tmp_path_factory.mktemp("load") / "keys"
    with serving(folder, "--audit", "buffered") as (_, told):
        tls = folder / "tls"
        files = [
            "--ca",
            f"{tls}/ca.pem",
            "--cert",
            f"{tls}/client.pem",
            "--key",
            f"{tls}/client.key",
        ]
        yield ["load", "kmip", "--progress", "none", "--server", told["address"], *files]


@pytest.mark.slow
def test_a_load_on_a_server_is_offered_whole_and_judged(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "all.hgrm"
    more = ["--rate", "60/s", "--duration", "2s", "--warmup", "500ms", "--connection", "pooled"]
    limits = ["--threshold", "get.p50 < 30s", "--threshold", "all.errors < 1%"]
    files = ["--hgrm", str(kept), "--html", str(tmp_path / "load.html")]
    assert run([*words, *more, *limits, *files, "-o", "json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert report["kind"] == "LoadReport" and report["verdict"] == "pass"
    items = {item["operation"]: item for item in report["items"]}
    assert set(items) == {"get", "create", "activate", "locate", "destroy", "all"}
    every = items.pop("all")
    assert every["offered"] == report["generator"]["drawn"] == every["ok"] > 70
    assert every["offered"] == sum(item["offered"] for item in items.values())
    assert every["failed"] == 0 and 0 < every["p50_ms"] <= every["p99_ms"] <= every["max_ms"]
    assert 0 < report["generator"]["cpu_share"] < 4
    assert sum(moment["offered"] for moment in report["moments"]) > every["offered"], "warm-up too"
    assert report["run"] and report["run"] in (tmp_path / "load.html").read_text()
    text = kept.read_text()
    assert text.split()[:2] == ["Value", "Percentile"]
    assert f"TotalCount     = {every['offered']:12.3f}" in text


def test_vcenters_open_a_connection_for_each_session_and_a_threshold_that_fails_is_1(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--rate", "20/s", "--duration", "1s", "--mix", "create:1", "--arrivals", "even"]
    assert run([*words, *more, "--threshold", "create.rate > 1000/s"]) in (1, 2)
    out, err = capsys.readouterr()
    assert "create.rate > 1000/s: does not hold, measured" in out
    assert "handshakes 19" in err or "handshakes 20" in err
    assert "drawn 19" in err or "drawn 20" in err


def test_a_server_that_is_not_there_is_one_message(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = ["127.0.0.1:1" if word == words[5] else word for word in words]
    assert run([*elsewhere, "--duration", "1s"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "KS-LOAD-002" in err and "Connection refused" in err


@pytest.mark.parametrize(
    ("more", "id", "said"),
    [
        ("--threshold|put.p99 < 5ms", "KS-LOAD-001", "names no operation"),
        ("--vcenters|0", "KS-USE-003", "--vcenters 0: 1 to 1000"),
        ("--outstanding|50000", "KS-USE-003", "--outstanding 50000: 1 to 20000"),
        ("--timeout|0s", "KS-USE-003", "above 0"),
        ("--seed=-1", "KS-USE-003", "--seed -1"),
        ("--hgrm|/nowhere/at/all", "KS-USE-003", "--hgrm"),
        ("--html|/nowhere/at/all", "KS-USE-003", "--html"),
        ("--rate|x", "KS-USE-003", "no rate"),
        ("--mix|x:1", "KS-USE-003", "no operation is 'x'"),
    ],
)
def test_bad_input_is_one_message_before_anything_is_sent(
    more: str, id: str, said: str, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run([*words, "--duration", "1s", *more.split("|")]) == 64
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(f"keystead: error {id}: ") and said in err


def test_more_connections_than_this_process_may_have_are_refused_before(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else what this process is refused would seem to be the server's refusals."""
    monkeypatch.setattr(resource, "getrlimit", lambda what: (256, 1024))
    assert run([*words, "--duration", "1s"]) == 64
    out, err = capsys.readouterr()
    assert out == "" and "--outstanding 500: this process may have 1024 files open" in err
    assert "fix: at most 480" in err


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_load_has_its_report(number: signal.Signals, words: list[str]) -> None:
    line = [word for word in words if word not in ("--progress", "none")]
    more = ["--progress", "json", "--rate", "40/s", "--duration", "1h", "--mix", "get:1"]
    more += ["--connection", "pooled"]
    playing = subprocess.Popen(
        [sys.executable, "-m", "lab.cli.main", *line, *more, "-o", "json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert playing.stderr is not None
    for told in playing.stderr:
        if "offered" in told:
            break
    time.sleep(0.3)
    playing.send_signal(number)
    out, err = playing.communicate(timeout=30)
    assert playing.returncode == 130, err
    report = json.loads(out)
    assert report["verdict"] == "interrupted" and report["items"][0]["offered"] > 20
    assert report["seconds"] < 100 and "interrupted" in err and "Traceback" not in err
