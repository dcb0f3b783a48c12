"""Parts that die, a disk that is full, a folder that goes: the lab goes on, or says why."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.processes.notebook import Notebook
from lab.state.state_folder import LOG_LIMIT_BYTES, LabFolder
from lab.supervise.launching import STOP_LIMIT_S
from services.runtime.forking.child import TRACEABLE
from tests.lab.cli.conftest import Cli, until
from tests.onlooker import seen_of

pytestmark = pytest.mark.lab

SMALL = ("--hosts", "1", "--vms", "1", "--tpm", "none", "--pace", "100")


def up(cli: Cli, *options: str) -> psutil.Process:
    """A new lab; its supervisor."""
    return psutil.Process(cli.ok("up", *SMALL, *options, "-o", "json").json["supervisor"])


def child(supervisor: psutil.Process, word: str) -> psutil.Process:
    """The child whose command line has ``word`` in it."""
    (found,) = (c for c in supervisor.children() if word in " ".join(c.cmdline()))
    return found


def warned(cli: Cli, text: str) -> bool:
    status = cli("status", "-o", "json")  # while a broker is started again nobody answers
    return status.code == 0 and any(text in warning for warning in status.json["warnings"])


def kept_faults(cli: Cli, patch: pytest.MonkeyPatch) -> list[str]:
    """Ids on the list that the next supervisor would take over."""
    patch.setenv("KEYSTEAD_STATE_HOME", str(cli.home))
    folder = LabFolder("default")
    record = folder.record()
    assert record is not None
    data = json.loads(Notebook(folder, record, lambda: 0.0, print).faults())
    return [entry["fault"]["id"] for entry in data["faults"]]


def listed(cli: Cli) -> dict[str, Any]:
    (lab,) = cli.ok("list", "-o", "json").items()
    return lab


# ---- parts ------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["data", "control"])
def test_a_broker_that_was_killed_is_started_again(cli: Cli, kind: str) -> None:
    broker = child(up(cli), f"broker-{kind}")
    broker.kill()
    psutil.wait_procs([broker], timeout=10)
    assert until(lambda: warned(cli, f"the {kind} broker has ended; it is started again"), 10)
    cli.ok("host", "reboot", "esxi-001")
    assert (listed(cli)["state"], listed(cli)["running"]) == ("running", 3)
    (vm,) = cli.ok("get", "vms", "-o", "json").items()
    assert vm["crypto"] == "unlocked" and not vm.get("stale")


@pytest.mark.slow
def test_a_killed_fork_server_comes_back_with_all_nodes_off(cli: Cli) -> None:
    supervisor = up(cli)
    child(supervisor, "keystead-forkserver").kill()
    assert until(lambda: warned(cli, "the fork server has ended"), 10)

    def all_off() -> bool:
        nodes = cli.ok("get", "nodes", "-o", "json").items()
        return [node["state"] for node in nodes] == ["off"] * 3

    assert until(all_off, 30)
    lab = listed(cli)
    assert (lab["state"], lab["running"], lab["nodes"]) == ("running", 0, 3), "list remembers"
    ran = cli("up")
    assert ran.code == 1 and "error KS-LAB-009" in ran.err and "esxi-001: off" in ran.err
    helps = "host power-on kms vcenter esxi-001"
    assert f"fix: `keystead {helps}` starts what is off" in ran.err
    cli.ok(*helps.split())
    cli.ok("up")
    assert [vm["vm"] for vm in cli.ok("get", "vms", "-o", "json").items()] == ["vm-01"]
    cli.ok("down", "--purge")
    assert cli.alone()


@pytest.mark.slow
def test_an_agent_is_started_as_often_as_it_takes(cli: Cli) -> None:
    """It finds no identity at first."""
    supervisor = up(cli)
    control = cli.home / "labs" / "default" / "identity" / "control"
    (agent,) = (c for c in supervisor.children(recursive=True) if c.name() == "ks-esxi-001")
    for file in control.glob("agent-*.json"):
        file.rename(file.with_suffix(".away"))
    agent.kill()
    assert until(lambda: warned(cli, "the process of esxi-001 does not start"), 30)
    ran = cli("up")
    assert ran.code == 1 and "esxi-001: gone" in ran.err, ran
    for file in control.glob("*.away"):
        file.rename(file.with_suffix(".json"))

    def off() -> bool:
        nodes = cli.ok("get", "nodes", "-o", "json").items()
        return [n["state"] for n in nodes if n["node"] == "esxi-001"] == ["off"]

    assert until(off, 60), "it was given up"
    cli.ok("host", "power-on", "esxi-001")
    cli.ok("up")


@pytest.mark.slow
def test_a_lab_whose_broker_cannot_be_had_again_ends_with_the_reason(cli: Cli) -> None:
    """Its configuration cannot be written: there is a folder in its place."""
    supervisor = up(cli)
    folder = cli.home / "labs" / "default" / "broker-data"
    (folder / "broker.conf").unlink()
    (folder / "broker.conf").mkdir()
    child(supervisor, "broker-data").kill()
    assert cli.alone() or cli.alone() or cli.alone(), "it goes on without a data broker"
    lab = listed(cli)
    assert lab["state"] == "killed" and "the data broker cannot be had again" in lab["reason"]
    ran = cli("get", "vms")
    assert ran.code == 69 and "the data broker cannot be had again" in ran.err
    (folder / "broker.conf").rmdir()
    again = psutil.Process(cli.ok("up", "-o", "json").json["supervisor"])
    assert listed(cli)["reason"] == ""
    again.kill()
    assert cli.alone() and "data broker" not in listed(cli)["reason"], "why an earlier one ended"


@pytest.mark.slow
def test_a_broker_that_a_fault_stopped_stays_down_until_its_heal(cli: Cli) -> None:
    supervisor = up(cli)
    cli.ok("fault", "broker.restart")

    def there() -> bool:
        return any("broker-data" in " ".join(c.cmdline()) for c in supervisor.children())

    assert not until(there, 1.0), "somebody started it again"
    assert not warned(cli, "the data broker has ended")
    cli.ok("heal", "--all")  # at this pace nodes take twenty lab seconds and more to come in again
    assert there()
    child(supervisor, "broker-data").kill()
    assert until(lambda: warned(cli, "the data broker has ended; it is started again"), 10)
    assert until(there, 10), "after a fault nobody looks after it"


@pytest.mark.slow
def test_down_is_quick_when_nobody_is_left_to_be_stopped(cli: Cli) -> None:
    """Nodes whose process is down are off already: nothing is waited for."""
    supervisor = up(cli)
    server = child(supervisor, "keystead-forkserver")
    supervisor.suspend()
    server.kill()
    supervisor.terminate()
    supervisor.resume()
    cli.ok("down")
    log = (cli.home / "labs" / "default" / "logs" / "supervisor.log").read_text()
    assert "does not start" not in log and cli.alone()


@pytest.mark.slow
def test_a_supervisor_that_does_not_answer_is_told(cli: Cli) -> None:
    supervisor = up(cli)
    supervisor.suspend()
    try:
        lab = listed(cli)
        assert lab["state"] == "silent" and "answer" in lab["reason"] and lab["running"] is None
        ran = cli("get", "vms")
        assert ran.code == 69 and "error KS-LAB-010" in ran.err, "it waits for ever"
        assert cli("up").code == 69
    finally:
        supervisor.resume()
    assert listed(cli)["state"] == "running"


@pytest.mark.slow
def test_a_suspended_supervisor_is_let_go_on_to_end_in_order(cli: Cli) -> None:
    """Else it would be waited for in vain, and killed."""
    supervisor = up(cli)
    supervisor.suspend()
    began = time.monotonic()
    cli.ok("down")
    assert time.monotonic() - began < STOP_LIMIT_S and cli.alone()


@pytest.mark.slow
def test_a_lost_note_of_the_supervisor_is_found_by_looking(cli: Cli) -> None:
    supervisor = up(cli)
    (cli.home / "labs" / "default" / "supervisor").unlink()
    assert listed(cli)["supervisor"] == supervisor.pid
    cli.ok("down", "--purge")
    assert cli.alone()


# ---- disk -------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_full_disk_ends_no_lab_and_is_told(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """The supervisor may not write a byte more, as on a full disk: what it promises is refused,
    what it only keeps up to date is tried again."""
    supervisor = up(cli)
    cli.ok("link", "cut", "vcenter", "kms")
    _, hard = supervisor.rlimit(resource.RLIMIT_FSIZE)
    supervisor.rlimit(resource.RLIMIT_FSIZE, (0, hard))
    assert until(lambda: warned(cli, "the lab's notes cannot be written"), 30)
    ran = cli("link", "cut", "vcenter", "esxi-001")
    assert ran.code == 1 and "KS-LAB-005" in ran.err, "a fault began that is not written down"
    ran = cli("host", "add")
    assert ran.code == 1 and "KS-LAB-005" in ran.err, "a host needs files of its own"
    cli.ok("heal", "--all")
    assert cli.ok("get", "faults", "-o", "json").items() == []
    assert cli.ok("get", "vms", "-o", "name").out == "vm-01\n"
    assert len(kept_faults(cli, monkeypatch)) == 1, "it could not be written"
    supervisor.rlimit(resource.RLIMIT_FSIZE, (hard, hard))
    assert until(lambda: warned(cli, "the lab's notes are written again"), 30)
    assert kept_faults(cli, monkeypatch) == [], "that it was healed was not saved"
    assert cli.ok("host", "add", "-o", "json").json["host"] == "esxi-002"


@pytest.mark.slow
def test_a_log_that_has_grown_is_put_aside_while_the_lab_runs_and_goes_on(cli: Cli) -> None:
    supervisor = up(cli)
    log = cli.home / "labs" / "default" / "logs" / "supervisor.log"
    with log.open("ab") as file:
        file.write(b"x" * LOG_LIMIT_BYTES + b"\n")
    assert until(lambda: log.exists() and log.stat().st_size == 0, 30), "it grows for ever"
    assert log.with_suffix(".log.1").stat().st_size > LOG_LIMIT_BYTES
    child(supervisor, "broker-data").kill()
    assert until(lambda: "the data broker has ended" in log.read_text(), 10)


@pytest.mark.slow
def test_a_full_disk_at_the_end_lets_the_nodes_be_stopped_in_order(cli: Cli) -> None:
    supervisor = up(cli)
    _, hard = supervisor.rlimit(resource.RLIMIT_FSIZE)
    supervisor.rlimit(resource.RLIMIT_FSIZE, (0, hard))
    cli.ok("down")
    assert cli.alone() and listed(cli)["state"] == "stopped", "it broke off before its end"
    cli.ok("up")


@pytest.mark.slow
def test_a_lab_whose_folder_went_ends(cli: Cli) -> None:
    up(cli)
    shutil.rmtree(cli.home / "labs" / "default", ignore_errors=True)
    assert until(lambda: not cli.pids(), 30), "it runs on without a folder"
    assert cli.ok("list", "-o", "json").items() == []
    cli.ok("up", *SMALL)


# ---- `up` is honest ---------------------------------------------------------------------------


@pytest.mark.slow
def test_a_lab_that_comes_up_halted_is_told(cli: Cli) -> None:
    up(cli)
    cli.ok("down")
    for archive in (cli.home / "labs" / "default" / "nodes" / "esxi-001").rglob("state.tgz"):
        archive.write_bytes(b"no archive")
    ran = cli("up")
    assert ran.code == 1 and "error KS-LAB-009" in ran.err and "esxi-001: halted (" in ran.err
    assert "running after" in ran.out, "it is up, all the same"
    assert (listed(cli)["running"], listed(cli)["nodes"]) == (2, 3)
    again = cli("up", "-o", "json")
    assert again.code == 1 and json.loads(again.out)["missing"][0].startswith("esxi-001: halted (")


@pytest.mark.slow
def test_vms_that_a_command_made_are_known_to_the_next_supervisor(cli: Cli) -> None:
    up(cli)
    cli.ok("vm", "create", "vm-02")
    cli.ok("down")
    cli.ok("up")
    cli.ok("vm", "on", "vm-02")
    cli.ok("describe", "vm", "vm-02")


@pytest.mark.slow
def test_a_host_that_was_added_is_there_in_the_next_life(cli: Cli) -> None:
    supervisor = up(cli)
    cli.ok("host", "add")
    supervisor.kill()
    assert cli.alone()
    cli.ok("up")
    nodes = {node["node"]: node["state"] for node in cli.ok("get", "nodes", "-o", "json").items()}
    assert nodes["esxi-002"] == "running" and listed(cli)["nodes"] == 4


# ---- faults, leases ---------------------------------------------------------------------------


@pytest.mark.slow
def test_leases_are_looked_after_and_heals_are_saved(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    up(cli)
    cli.ok("link", "cut", "vcenter", "kms", "--for", "100s")
    assert until(lambda: cli.ok("get", "faults", "-o", "json").items() == [], 30), (
        "its lease is over"
    )
    assert kept_faults(cli, monkeypatch) == []
    cli.ok("link", "cut", "vcenter", "kms")
    assert len(kept_faults(cli, monkeypatch)) == 1
    cli.ok("heal", "--all")
    assert kept_faults(cli, monkeypatch) == []


@pytest.mark.slow
def test_faults_of_the_last_time_are_taken_over_and_healed(cli: Cli) -> None:
    supervisor = up(cli)
    cli.ok("link", "cut", "vcenter", "kms")
    supervisor.kill()
    assert cli.alone()
    again = cli.ok("up", "--progress", "plain")
    assert "heal the faults of the last time" in again.err
    assert cli.ok("get", "faults", "-o", "json").items() == []


@pytest.mark.slow
def test_a_damaged_list_of_faults_is_told_and_put_aside(cli: Cli) -> None:
    supervisor = up(cli)
    cli.ok("link", "cut", "vcenter", "kms")
    supervisor.kill()
    assert cli.alone()
    faults = cli.home / "labs" / "default" / "faults"
    assert b"vcenter" not in faults.read_bytes(), "it can be read by whoever has the file"
    faults.write_bytes(faults.read_bytes()[:-1])
    ran = cli("up")
    assert ran.code == 1 and "KS-LAB-009" in ran.err and "faults of the last time" in ran.err
    assert faults.with_name("faults.damaged").exists()
    cli.ok("down")
    cli.ok("up")


# ---- core files -------------------------------------------------------------------------------


@pytest.mark.slow
def test_no_process_of_a_lab_leaves_a_core_file_or_is_read_by_others(tmp_path: Path) -> None:
    """A broker has no key, and becomes a program, which is dumpable again."""
    cli = Cli(tmp_path / "state", **{TRACEABLE: "0"})
    try:
        supervisor = up(cli)
        processes = [supervisor, *supervisor.children(recursive=True)]
        for process in processes:
            assert process.rlimit(resource.RLIMIT_CORE) == (0, 0), process.name()
        held = {one.pid: one.name() for one in processes if "nats" not in one.name()}
        assert len(held) >= 5
        seen = seen_of(held)
        assert {name for pid, name in held.items() if seen[pid] != ["cmdline"]} == set()
        # Commands find it all the same.
        assert cli.ok("status", "-o", "json").json["supervisor"] == supervisor.pid
        cli.ok("down", "--purge")
    finally:
        cli.end()


# ---- tests end what they started, and nothing else ----------------------------------------------


def test_the_end_of_a_test_ends_nothing_of_another_run(cli: Cli, tmp_path: Path) -> None:
    """Another run of the tests, from another checkout perhaps, has the same state folder."""
    mine = cli.begin("logs", "-f", "--help")
    mine.communicate(timeout=60)
    stranger = psutil.Popen(["sleep", "60"], env={"KEYSTEAD_STATE_HOME": str(cli.home)})
    started = psutil.Popen(["sleep", "60"], env=cli.env)
    try:
        # The kernel shows a new process's environment a moment after its parent goes on.
        assert until(lambda: cli.pids() == [started.pid], 10)
        cli.end()
        assert started.wait(10) == -signal.SIGKILL
        assert stranger.is_running() and stranger.status() != psutil.STATUS_ZOMBIE
    finally:
        for process in (stranger, started):
            if process.poll() is None:
                process.kill()
            process.wait(10)


@pytest.mark.slow
def test_down_ends_no_supervisor_of_another_state_folder(cli: Cli, tmp_path: Path) -> None:
    """Its pid stands in our file by chance, or by a copy of the folder."""
    other = Cli(tmp_path / "other")
    supervisor = up(other)
    cli.ok("up", *SMALL)
    cli.ok("down")
    (cli.home / "labs" / "default" / "supervisor").write_text(str(supervisor.pid))
    cli("down")
    assert supervisor.is_running() and listed(other)["state"] == "running"
    other.ok("down", "--purge")


# ---- a start that goes on ------------------------------------------------------------------------


@pytest.mark.slow
def test_nothing_is_left_of_a_failed_take_back(cli: Cli) -> None:
    """The command that waits is killed while it takes a failed start back."""
    process = cli.begin("up", "--hosts", "4", "--tpm", "none", "--progress", "plain")
    assert process.stderr is not None and "start brokers" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    began = time.monotonic()
    assert until(lambda: cli("list").out.count("busy") == 0, 60), time.monotonic() - began
    ran = cli("up", "--hosts", "4", "--tpm", "none")
    assert ran.code == 0, ran
