"""Bad luck: killed, interrupted, twice, at once, nowhere to write, ports taken, pipes closed."""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from lab.cli.grammar import COMMANDS
from lab.supervise.launching import ROOT
from tests.lab.cli.conftest import Cli, until

pytestmark = pytest.mark.lab

SMALL = ("--hosts", "1", "--vms", "1", "--tpm", "none", "--pace", "100")


@pytest.mark.slow
def test_a_killed_supervisor_takes_all_along_and_up_goes_on(cli: Cli) -> None:
    made = cli.ok("up", *SMALL, "-o", "json").json
    assert len(cli.pids()) == made["processes"], "the figure told is the figure there"
    cli.ok("link", "cut", "vcenter", "kms")
    os.kill(made["supervisor"], signal.SIGKILL)
    assert cli.alone(), "orphans"

    assert cli.ok("list", "-o", "json").items()[0]["state"] == "killed"
    ran = cli("get", "vms")
    assert ran.code == 69 and "KS-LAB-001" in ran.err and "was killed" in ran.err
    cli.ok("logs")
    again = cli.ok("up", "-o", "json").json
    assert again["seed"] == made["seed"]
    assert cli.ok("get", "faults", "-o", "json").items() == [], "a fault of the last time is left"
    assert cli.ok("get", "vms", "-o", "name").out == "vm-01\n"
    os.kill(again["supervisor"], signal.SIGKILL)
    assert cli.alone()
    cli.ok("down", "--purge")
    assert cli.labs() == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lines", "number"),
    [(0, signal.SIGINT), (1, signal.SIGHUP), (2, signal.SIGINT), (4, signal.SIGTERM)],
)
def test_an_interrupted_start_leaves_nothing(cli: Cli, lines: int, number: signal.Signals) -> None:
    """After so many steps; a signal may come before the command can hear it, never too late
    to be clean: there is nothing, or there is a whole lab."""
    process = cli.begin("up", "--hosts", "8", "--tpm", "none", "--progress", "plain")
    assert process.stderr is not None
    for _ in range(lines):
        process.stderr.readline()
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        cli.ok("down", "--purge")
    else:
        unborn = "Fatal Python error: init" in err  # it fell into the interpreter's own start
        assert unborn or process.returncode in (130, -number), (out, err)
        assert out == "" and (lines == 0 or "Traceback" not in err), err
    assert cli.alone() and cli.labs() == []


@pytest.mark.slow
def test_an_interrupted_start_says_so(cli: Cli) -> None:
    process = cli.begin("up", "--hosts", "8", "--tpm", "none", "--progress", "plain")
    assert process.stderr is not None
    assert "start brokers" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert "keystead: interrupted: the lab default is down again" in err
    assert cli.alone() and cli.labs() == []


@pytest.mark.slow
def test_down_stops_a_start_that_goes_on_elsewhere(cli: Cli) -> None:
    process = cli.begin("up", "--hosts", "8", "--tpm", "none")
    assert process.stderr is not None
    process.stderr.readline()
    cli("down", "--purge")
    process.communicate(timeout=60)
    assert process.returncode == 69
    assert cli.alone() and cli.labs() == []


@pytest.mark.slow
def test_two_labs_at_once_know_nothing_of_each_other(cli: Cli) -> None:
    one = cli.begin("up", *SMALL, "--name", "one")
    two = cli.begin("up", *SMALL, "--name", "two")
    for process in (one, two):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (out, err)
    cli.ok("link", "cut", "vcenter", "kms", "--name", "one")
    assert cli.ok("get", "faults", "-n", "two", "-o", "name").out == ""
    assert cli.ok("list", "-o", "name").out == "one\ntwo\n"
    cli.ok("down", "--purge", "-n", "one")
    assert cli.ok("get", "vms", "-n", "two", "-o", "name").out == "vm-01\n"


@pytest.mark.slow
def test_two_starts_of_one_name_make_one_lab(cli: Cli) -> None:
    processes = [cli.begin("up", *SMALL) for _ in range(3)]
    ended = [(p.communicate(timeout=60), p.returncode) for p in processes]
    codes = sorted(code for _, code in ended)
    assert codes[0] == 0 and set(codes[1:]) <= {0, 1}, ended
    assert all("KS-LAB-002" in err for (_, err), code in ended if code == 1), ended
    assert cli.ok("get", "vms", "-o", "name").out == "vm-01\n"


@pytest.mark.slow
def test_up_on_a_running_lab(cli: Cli) -> None:
    first = cli.ok("up", *SMALL, "-o", "json").json
    again = cli.ok("up", "-o", "json")
    assert again.json["kind"] == "LabStatus" and "is running already" in again.err
    assert cli.ok("up", *SMALL, "-o", "json").json["supervisor"] == first["supervisor"]
    for other in (["--hosts", "2"], ["edge"], ["--seed", "1"], ["--set", "auto_unlock=false"]):
        ran = cli("up", *other)
        assert ran.code == 1 and "KS-LAB-006" in ran.err and "->" in ran.err, ran
    cli.ok("down")
    assert cli("up", "--hosts", "2").code == 1, "a stopped lab is another one too"
    assert cli.ok("up", *SMALL, "--no-wait", "-o", "json").json["state"] == "starting"
    assert until(lambda: cli("get", "vms").code == 0, 20)


def test_a_lab_of_an_older_version(cli: Cli) -> None:
    folder = cli.home / "labs" / "default"
    folder.mkdir(parents=True)
    (folder / "lab.json").write_text('{"layout": 0, "name": "default"}')
    for line in ("up", "get vms", "status"):
        ran = cli(*line.split())
        assert ran.code == 1 and "KS-LAB-004" in ran.err and "down --purge" in ran.err
    assert cli.ok("list", "-o", "json").items()[0]["state"] == "of another version"
    cli.ok("down", "--purge")
    assert cli.labs() == []


@pytest.mark.slow
def test_a_port_that_was_taken_while_the_lab_was_down_is_chosen_anew(cli: Cli) -> None:
    cli.ok("up", *SMALL)
    cli.ok("down")
    endpoint = cli.home / "labs" / "default" / "broker-control" / "endpoint.json"
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", json.loads(endpoint.read_bytes())["port"]))
        taken.listen(1)
        cli.ok("up")
        assert json.loads(endpoint.read_bytes())["port"] != taken.getsockname()[1]
    assert cli.labs() == ["default"]


@pytest.mark.parametrize(
    ("environment", "arguments", "id", "code"),
    [
        ({"KEYSTEAD_NATS_SERVER": "/bin/false"}, SMALL, "KS-BROKER-001", 78),
        ({"KEYSTEAD_STATE_HOME": "/proc/nowhere"}, SMALL, "KS-LAB-005", 1),
        ({}, (*SMALL, "--timeout", "50ms"), "KS-LAB-003", 1),
    ],
)
def test_a_start_that_fails_is_taken_back(
    tmp_path: Path, environment: dict[str, str], arguments: tuple[str, ...], id: str, code: int
) -> None:
    cli = Cli(tmp_path / "state", **environment)
    ran = cli("up", *arguments)
    assert ran.code == code and f"error {id}: " in ran.err and "  fix: " in ran.err, ran
    assert ran.out == "" and "Traceback" not in ran.err
    assert cli.alone() and cli.labs() == []
    if id != "KS-LAB-005":
        where = ran.err.split("logs: ")[1].split(";")[0]
        assert (Path(where) / "logs").is_dir(), "there are no logs where it says"


def test_retain_keeps_the_folder_of_a_failed_start(cli: Cli) -> None:
    ran = cli("up", *SMALL, "--timeout", "50ms", "--retain")
    assert ran.code == 1 and cli.alone() and cli.labs() == ["default"]
    cli.ok("up", *SMALL)


@pytest.mark.slow
def test_a_lab_that_was_there_outlives_a_start_that_fails(cli: Cli) -> None:
    cli.ok("up", *SMALL)
    cli.ok("down")
    ran = cli("up", "--timeout", "50ms")
    assert ran.code == 1 and "KS-LAB-003" in ran.err and "nothing is left" not in ran.err
    assert cli.alone() and cli.labs() == ["default"]
    cli.ok("up")
    assert cli.ok("get", "vms", "-o", "name").out == "vm-01\n"


NO_TPM = """
import sys
from services.runtime.tpm import library
def missing():
    raise library.LibraryMissing("libtpms cannot be loaded: planted")
library.library_path = missing
from lab.cli.main import main
main()
"""


def test_without_tpm_libraries(cli: Cli) -> None:
    command = [sys.executable, "-c", NO_TPM, "up"]
    ran = subprocess.run(command, cwd=ROOT, env=cli.env, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 78 and "KS-TPM-001" in ran.stderr and "--tpm none" in ran.stderr
    assert cli.labs() == []


def test_a_host_without_tpm_refuses_persistence_by_its_name(cli: Cli) -> None:
    cli.ok("up", *SMALL)
    ran = cli(*shlex.split("esx esxi-001 system security keypersistence enable"))
    assert ran.code != 0 and "TPM" in ran.out + ran.err


@pytest.mark.slow
@pytest.mark.parametrize("line", ["get links", "explain", "events", "get links -o json", "logs"])
def test_a_closed_pipe_is_no_error(cli: Cli, line: str) -> None:
    if not line.startswith("explain"):
        cli.ok("up", *SMALL)
    command = (
        f"{shlex.quote(sys.executable)} -m lab.cli.main {line} | true; echo ${{PIPESTATUS[0]}}"
    )
    ran = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, env=cli.env, capture_output=True, text=True, timeout=60
    )
    assert ran.stdout == "0\n" and ran.stderr == "", ran


@pytest.mark.slow
def test_following_ends_with_its_lab(cli: Cli) -> None:
    made = cli.ok("up", *SMALL, "-o", "json").json
    events, logs = (cli.begin(kind, "-f", "-o", "json") for kind in ("events", "logs"))
    assert events.stdout is not None and logs.stdout is not None
    first = json.loads(events.stdout.readline())
    assert first["kind"] == "LoggedEvent"
    assert json.loads(logs.stdout.readline())["kind"] == "LogLine"
    cli.ok("host", "reboot", "esxi-001")
    said: dict[str, Any] = {}
    while (said.get("node"), said.get("boot")) != ("esxi-001", 2):
        line = logs.stdout.readline()
        assert line, "it ended before its lab"
        said = json.loads(line)
    os.kill(made["supervisor"], signal.SIGKILL)
    assert events.wait(30) == 69 and logs.wait(30) == 0
    logs.communicate()
    assert "error KS-LAB-007: " in events.communicate()[1], "it went in the middle of a command"


def test_a_supervisor_killed_in_the_middle_of_a_command(cli: Cli) -> None:
    """The fault is written down before it begins, and its bite check waits for a canary's limit."""
    made = cli.ok("up", *SMALL, "-o", "json").json
    faults = cli.home / "labs" / "default" / "faults"
    nobody = faults.read_bytes()
    cutting = cli.begin("link", "cut", "vcenter", "kms")
    assert until(lambda: faults.read_bytes() != nobody, 30)
    os.kill(made["supervisor"], signal.SIGKILL)
    _, err = cutting.communicate(timeout=30)
    assert cutting.returncode == 69 and "KS-LAB-007" in err, err
    assert "Traceback" not in err


@pytest.mark.slow
def test_ctrl_c_ends_following_with_130(cli: Cli) -> None:
    cli.ok("up", *SMALL)
    for line in ("events -f -o json", "logs -f"):
        process = cli.begin(*line.split())
        assert process.stdout is not None
        process.stdout.readline() if "events" in line else time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
        assert process.returncode == 130 and "Traceback" not in err, err


def loaded_after(code: str) -> set[str]:
    """The modules of a Python that has run ``code``."""
    code += "; import sys; print('\\n'.join(sys.modules))"
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(ran.stdout.split())


def test_a_command_line_imports_no_other_command() -> None:
    line = "from lab.cli.program import ready_for; ready_for(['vm', 'on', 'vm-01'])"
    ours = {n.removeprefix("lab.cli.") for n in loaded_after(line) if n.startswith("lab.cli.")}
    commands = {function.partition(":")[0] for function in COMMANDS.values()}
    assert ours & commands == set() and "derived" in ours


@pytest.mark.slow
def test_a_run_in_virtual_time_loads_no_lab_of_real_processes() -> None:
    loaded = loaded_after("import lab.play.play, lab.play.prepare, lab.local.experiment_files")
    of_processes = ("nats", "lab.processes", "lab.brokers.", "lab.serve.table")
    assert {name for name in loaded if name.startswith(of_processes)} == set()


@pytest.mark.slow
def test_what_reports_are_made_with_is_loaded_by_reports_alone() -> None:
    loaded = loaded_after(
        "import lab.cli.experiments.stored_runs, lab.cli.experiments.chaos\n"
        "import lab.local.stored.reports, lab.local.stored.runs"
    )
    assert "chaos.report.story" in loaded
    assert loaded & {"jinja2", "junitparser", "hdrh", "chaos.report.page"} == set()


def test_looking_takes_little(cli: Cli) -> None:
    """What simple commands import: the control plane, the services and pydantic are not in it."""
    loaded = loaded_after("from lab.cli.program import ready_for; ready_for(['get'])")
    heavy = {"nats", "pydantic", "cryptography", "chaos.playing.engine", "yaml", "tpm2_pytss"}
    assert loaded & heavy == set()
    # Of the services only the writer of plain files, which imports nothing of them.
    services = {name for name in loaded if name.split(".")[0] == "services"}
    assert services <= {
        "services",
        "services.runtime",
        "services.runtime.real",
        "services.runtime.real.files",
    }
