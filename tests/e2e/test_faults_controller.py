"""Who commands an experiment dies or is interrupted: no process, fault or temporary lab stays."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chaos.history import verify
from tests.lab.cli.conftest import Cli

pytestmark = pytest.mark.lab

LONG = """
apiVersion: keystead/v1
kind: Experiment
name: long
title: A cut and a stopped process that last
topology: {use: default, with: {hosts: 2, vms: 2, tpm: none, pace: 60}}
hypothesis:
  before: [{probe: vm.running, is: "== 100%", within: 60s}]
  after: [{probe: vm.running, is: "== 100%"}]
guards: {lease: 300s, max_duration: 60m, blast_radius: {hosts: 100%, kms: 1, vcenter: 1}}
schedule:
  - {id: still, at: 1s, for: 50m, fault: proc.pause, on: esxi-002}
  - {id: wan, at: 10s, for: 50m, fault: link.cut, between: [vcenter, kms]}
"""


SIGNALS = [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    made = Cli(tmp_path / "state")
    yield made
    made.end()


def begun(cli: Cli, tmp_path: Path, *options: str, until_line: str) -> subprocess.Popen[str]:
    """``chaos run`` on real processes, read up to the line that contains ``until_line``."""
    file = tmp_path / "long.yaml"
    file.write_text(LONG)
    process = cli.begin("chaos", "run", str(file), "--mode", "lab", *options)
    assert process.stderr is not None
    seen = []
    for line in process.stderr:
        seen.append(line)
        if until_line in line:
            return process
    raise AssertionError(f"it ended early: {seen}")


def result(cli: Cli) -> dict[str, Any] | None:
    (run,) = (cli.home / "runs").iterdir()
    file = run / "result.json"
    return json.loads(file.read_bytes()) if file.exists() else None


def scratch(cli: Cli) -> list[str]:
    """Folders of labs of one run."""
    folder = cli.home / "scratch"
    return os.listdir(folder) if folder.is_dir() else []


@pytest.mark.slow
def test_a_killed_controller_takes_its_lab_along(cli: Cli, tmp_path: Path) -> None:
    process = begun(cli, tmp_path, until_line="wan: ")
    assert len(cli.pids()) > 5
    process.kill()
    process.communicate(timeout=60)
    assert cli.alone(), "orphans, perhaps the process that was stopped by signal"
    assert cli.labs() == [] and result(cli) is None
    assert len(scratch(cli)) == 1, "nobody was left to remove it, with the identities in it"
    ran = cli.ok("get", "runs", "-o", "json").items()
    assert [r["verdict"] for r in ran] == ["broken off"]
    assert scratch(cli) == [], "the next command does not collect it"


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_run_heals_and_says_130(
    cli: Cli, tmp_path: Path, number: signal.Signals
) -> None:
    process = begun(cli, tmp_path, until_line="wan: ")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert cli.alone() and cli.labs() == []
    found = result(cli)
    assert found is not None and (found["verdict"], found["exit_code"]) == ("interrupted", 130)
    assert found["left"] == [] and "Traceback" not in err
    (run,) = (cli.home / "runs").iterdir()
    records = verify(run / "history.msgpack")
    healed = {r.data["id"] for r in records if r.type == "heal" and r.data["verified"]}
    assert healed == {"still", "wan"}
    assert scratch(cli) == []


@pytest.mark.slow
@pytest.mark.parametrize("line", ["lab: start", "power on", "create", "before: "])
def test_interrupted_before_its_first_fault(cli: Cli, tmp_path: Path, line: str) -> None:
    process = begun(cli, tmp_path, until_line=line)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert cli.alone() and cli.labs() == [] and "Traceback" not in err
    assert scratch(cli) == []


@pytest.mark.slow
def test_a_run_on_a_lab_goes_on_and_heals_when_its_command_is_killed(
    cli: Cli, tmp_path: Path
) -> None:
    """The lab's supervisor plays it; the command only waits. Stopped in order it says 130."""
    cli.ok("up", "--hosts", "2", "--vms", "2", "--tpm", "none", "--pace", "60")
    process = begun(cli, tmp_path, "--on", "default", until_line="wan: ")
    process.kill()
    process.communicate(timeout=60)
    assert [f["id"] for f in cli.ok("get", "faults", "-o", "json").items()] == ["still", "wan"]
    again = cli("chaos", "run", str(tmp_path / "long.yaml"), "--mode", "lab", "--on", "default")
    assert "KS-CHAOS-102" in again.err, "one at a time"
    cli.ok("down")
    assert cli.alone()
    cli.ok("up")  # what the run had begun is healed at the latest now
    assert cli.ok("get", "faults", "-o", "json").items() == []
    cli.ok("down", "--purge")


@pytest.mark.slow
@pytest.mark.parametrize("number", SIGNALS)
def test_an_interrupted_run_on_a_lab_heals_there(
    cli: Cli, tmp_path: Path, number: signal.Signals
) -> None:
    cli.ok("up", "--hosts", "2", "--vms", "2", "--tpm", "none", "--pace", "60")
    process = begun(cli, tmp_path, "--on", "default", until_line="wan: ")
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert cli.ok("get", "faults", "-o", "json").items() == []
    status = cli.ok("status", "-o", "json").json
    assert status["nodes"] == {"running": 4}
    cli.ok("down", "--purge")
    assert cli.alone()
