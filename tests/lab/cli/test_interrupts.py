"""Ctrl-C in the middle of a run, with a real signal: healed, reported, and the history is whole."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import IO

import pytest

from chaos.history import verify
from lab.cli.experiments.chaos import stop_on_signals
from lab.cli.interrupts import Interrupts
from lab.supervise.launching import ROOT
from tests.lab.cli.conftest import Cli, until

LONG = """\
apiVersion: keystead/v1
kind: Experiment
name: long
title: A long one
topology: {use: default, with: {hosts: 4, vms: 4, tpm: none}}
hypothesis: {recover: {within: 60s}, after: [{probe: vm.running, is: "== 100%"}]}
workload: [{op: key.create, rate: 2/s}]
guards: {max_duration: 10h}
schedule:
  - {id: cut, at: 1s, for: 8h, fault: link.cut, between: [vcenter, kms]}
  - {id: dark, at: 2s, for: 8h, fault: host.power_loss, on: esxi-001}
"""


def test_one_that_comes_while_asyncio_is_half_loaded_is_an_interrupt_like_any(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Loading takes most of the time of a short command; it was answered with a traceback."""
    monkeypatch.setitem(sys.modules, "asyncio", ModuleType("asyncio"))
    with pytest.raises(KeyboardInterrupt):
        Interrupts()._hear(signal.SIGINT, None)


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "state")
    yield made
    made.end()


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "long.yaml"
    path.write_text(LONG)
    return str(path)


def read_until(stream: IO[str], text: str) -> str:
    """All lines up to that which has ``text``."""
    lines = ""
    for line in stream:
        lines += line
        if text in line:
            return lines
    raise AssertionError(f"{text} did not come: {lines}")


def interrupted(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """What the run says on stdout after this signal."""
    assert process.stderr is not None
    before = read_until(process.stderr, "dark: power loss of esxi-001")
    assert "s left" in before, "a line says what time remains"
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=90)
    assert process.returncode == 130, (out, err)
    assert "interrupted: everything is healed first" in err and "heal: everything" in err
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "number"),
    [
        pytest.param("sim", signal.SIGINT, marks=pytest.mark.sim),
        pytest.param("sim", signal.SIGTERM, marks=pytest.mark.sim),
        pytest.param("lab", signal.SIGINT, marks=pytest.mark.lab),
    ],
)
def test_an_interrupted_run_is_healed_and_reported(
    cli: Cli, file: str, mode: str, number: signal.Signals
) -> None:
    out = interrupted(cli.begin("chaos", "run", file, "--mode", mode), number)
    assert f"INTERRUPTED (exit 130)  run long-{mode}-1" in out
    records = verify(cli.home / "runs" / f"long-{mode}-1" / "history.msgpack")
    begun = {r.data["id"] for r in records if r.op == "inject"}  # one may not have bitten yet
    healed = {r.data["id"] for r in records if r.type == "heal" and r.data["verified"]}
    assert begun == healed and "dark" in begun
    assert records[-2].data["exit_code"] == 130
    assert cli("check", f"long-{mode}-1").code == 0, "its history can be judged"
    [row] = cli("runs", "-o", "json").items()
    assert row["verdict"] == "interrupted" and row["exit_code"] == 130
    again = cli("chaos", "replay", f"long-{mode}-1")
    assert (again.code != 0) and "KS-RUN-002" in again.err
    assert cli.alone()


@pytest.mark.slow
@pytest.mark.sim
def test_a_second_interrupt_ends_a_simulation_at_once(cli: Cli, file: str) -> None:
    process = cli.begin("chaos", "run", file, "--mode", "sim")
    assert process.stderr is not None
    read_until(process.stderr, "run long-sim-1")
    for _ in range(2):
        os.kill(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err
    assert cli.alone()


@pytest.mark.slow
@pytest.mark.parametrize(
    "mode", [pytest.param("sim", marks=pytest.mark.sim), pytest.param("lab", marks=pytest.mark.lab)]
)
def test_however_often_it_is_interrupted_a_run_ends_with_130(
    cli: Cli, file: str, mode: str
) -> None:
    """Up to its last moment: the interpreter's way out is a part of its life too."""
    process = cli.begin("chaos", "run", file, "--mode", mode)
    assert process.stderr is not None
    read_until(process.stderr, "run long-sim-1" if mode == "sim" else "dark: power loss of")
    until = time.monotonic() + 90
    while process.poll() is None and time.monotonic() < until:
        os.kill(process.pid, signal.SIGINT)
        time.sleep(0.001)
    _, err = process.communicate(timeout=5)
    assert process.returncode == 130 and "Traceback" not in err, err
    assert cli.alone()


@pytest.mark.slow
@pytest.mark.lab
def test_a_run_whose_terminal_has_gone_is_stopped_from_another(cli: Cli, file: str) -> None:
    """The lab goes on with it, and only going down ended it."""
    assert (refused := cli("chaos", "stop")).code != 0 and "KS-" in refused.err
    cli.ok("up", "--hosts", "4", "--vms", "4", "--tpm", "none", "--pace", "100")
    assert "KS-RUN-001" in cli("chaos", "stop").err
    client = cli.begin("chaos", "run", file, "--mode", "lab", "--on", "default")
    assert client.stderr is not None
    read_until(client.stderr, "dark: power loss of")
    client.kill()
    client.communicate()

    def verdicts() -> list[str | None]:
        return [row["verdict"] for row in cli.ok("runs", "-o", "json").items()]

    assert verdicts() == ["running"]
    assert "KS-CHAOS-102" in cli("chaos", "run", file, "--mode", "lab", "--on", "default").err
    assert verdicts() == ["running"], "one that was refused is no run"
    assert cli.ok("chaos", "stop", "-o", "json").json["run"] == "long-lab-1"
    assert until(lambda: verdicts() == ["interrupted"], 60)
    assert cli.ok("get", "faults", "-o", "json").items() == []
    cli.ok("down")
    assert cli.alone()


WAITS = """
import asyncio, os, sys, time
from lab.cli import main

async def waits():
    try:
        print("waits", flush=True)
        await asyncio.sleep(60)
    finally:
        print("left", flush=True)
        if sys.argv[1] == "stuck":
            time.sleep(60)

main.run = lambda arguments: asyncio.run(waits())
main.main()
"""


@pytest.mark.parametrize(("how", "times"), [("leaves", 1), ("stuck", 2)])
def test_what_waits_in_an_event_loop_leaves_in_order_and_a_second_time_at_once(
    how: str, times: int
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS, how],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None and process.stderr is not None
    for line in ("waits", "left")[:times]:
        read_until(process.stdout, line)
        os.kill(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130 and "Traceback" not in err
    assert how == "stuck" or (out == "left\n" and err == "\nkeystead: interrupted\n")


def test_a_signal_while_the_loop_closes_is_no_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    """The loop's pipe is closed before its handlers of signals are taken back."""
    heard: list[str] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    loop = asyncio.new_event_loop()

    async def run() -> None:
        stop_on_signals(lambda: heard.append("stop"))
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    closes = loop._close_self_pipe  # type: ignore[attr-defined]

    def close_and_interrupt() -> None:
        closes()
        os.kill(os.getpid(), signal.SIGINT)

    loop._close_self_pipe = close_and_interrupt  # type: ignore[attr-defined]
    try:
        loop.run_until_complete(run())
        loop.close()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert heard == ["stop"]
    assert "Exception ignored" not in capfd.readouterr().err
