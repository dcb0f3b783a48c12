"""Two machines on one: a supervisor, and an agent in a state folder and a clock of its own.

The lab is one for all; each test leaves it as it was, with all nodes running.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from lab.local.remote import Remote
from lab.schema.answers import LabMachine
from lab.schema.commands import (
    Command,
    DescribeHost,
    GetHosts,
    GetLinks,
    GetMachines,
    GetNodes,
    GetStatus,
    GetVms,
    HostPowerOn,
    HostReboot,
    LinkCut,
)
from lab.state.state_folder import LabFolder
from lab.supervise.launching import ROOT
from tests.lab.cli.conftest import Cli, until
from tests.lab.machines.conftest import lab_file

pytestmark = pytest.mark.lab
A = TypeVar("A")

AHEAD_S = 3 * 3600
CLOCK = ("unshare", "--time", "--monotonic", str(AHEAD_S), "--boottime", str(AHEAD_S), "--fork")


TIME_OF_DAY = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
static volatile double *ahead;
static int (*machines)(clockid_t, struct timespec *);
__attribute__((constructor)) static void begin(void) {
    machines = dlsym(RTLD_NEXT, "clock_gettime");
    ahead = mmap(0, sizeof(double), PROT_READ, MAP_SHARED, open(getenv("AHEAD"), O_RDONLY), 0);
}
int clock_gettime(clockid_t clock, struct timespec *now) {
    int failed = machines(clock, now);
    if (clock == CLOCK_REALTIME && ahead != MAP_FAILED) now->tv_sec += (time_t)*ahead;
    return failed;
}
"""
"""In front of the C library: a time of day that a test sets, for all processes of a machine."""


def own_clock() -> bool:
    """Whether this user may give a process a monotonic clock (``time_namespaces(7)``)."""
    return not subprocess.run([*CLOCK, "true"], capture_output=True).returncode


class Far:
    """Another machine: ``keystead agent join`` in a state folder of its own, three hours ahead."""

    def __init__(self, home: Path) -> None:
        self.cli = Cli(home)
        self._time_of_day = home.with_suffix(".ahead")
        self.set_time_of_day(AHEAD_S)
        if shutil.which("cc"):
            source, library = home.with_suffix(".c"), home.with_suffix(".so")
            source.write_text(TIME_OF_DAY)
            make = ["cc", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
            subprocess.run(make, check=True)
            more = {"LD_PRELOAD": str(library), "AHEAD": str(self._time_of_day)}
            self.cli = Cli(home, **more)
        self.log = home.with_suffix(".log")
        self.ahead_s = AHEAD_S if own_clock() else 0
        self._process: subprocess.Popen[bytes] | None = None

    def set_time_of_day(self, ahead_s: float) -> None:
        """In place: it is mapped."""
        fd = os.open(self._time_of_day, os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(fd, struct.pack("d", ahead_s))
        os.close(fd)

    def join(self, bundle: Path) -> None:
        if self._process is not None:
            self._process.wait(10)
        words = [sys.executable, "-m", "lab.cli.main", "agent", "join", str(bundle)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*(CLOCK if self.ahead_s else ()), *words],
                cwd=ROOT,
                env=self.cli.env,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    @property
    def said(self) -> str:
        return self.log.read_text() if self.log.exists() else ""

    def agents(self) -> list[psutil.Process]:
        """The agent; without the program that gave it its clock, and copies of it."""
        others, found = ("unshare", "keystead-fork"), []
        for process in self.cli.processes():
            with suppress(psutil.Error):
                named = process.name()
                if "join" in process.cmdline() and not named.startswith((*others, "ks-")):
                    found.append(process)
        return found

    def signal(self, number: signal.Signals) -> None:
        (agent,) = self.agents()
        agent.send_signal(number)

    def nodes(self) -> list[str]:
        """Nodes whose processes run there."""
        names = []
        for process in self.cli.processes():
            with suppress(psutil.Error, IndexError):
                name = Path(f"/proc/{process.pid}/comm").read_text().strip()
                names += [name] if name.startswith("ks-") else []
        return sorted(names)

    def end(self) -> int | None:
        self.cli.end()
        return self._process.wait(10) if self._process is not None else None


@dataclass
class Two:
    """The lab ``far`` with a host here and one there."""

    here: Cli
    far: Far
    bundle: Path

    def ask(self, command: Command[A]) -> A:
        """As the command line does, in this process: it is asked often."""

        async def one() -> A:
            async with Remote(LabFolder("far")) as lab:
                return await lab.do(command)

        return asyncio.run(one())

    def machine(self) -> LabMachine:
        _, east = self.ask(GetMachines()).items
        return east

    def stands(self, standing: str) -> bool:
        return self.machine().standing == standing

    def host(self) -> str:
        return next(n.state for n in self.ask(GetNodes()).items if n.node == "esxi-002")

    def running(self) -> bool:
        """Whether the host there can be had again."""
        if self.host() == "off":
            self.ask(HostPowerOn(("esxi-002",)))
        return self.host() == "running"

    def proxy(self) -> psutil.Process:
        (found,) = (p for p in self.here.processes() if "lab.machines.tls_proxy" in p.cmdline())
        return found


@contextmanager
def joined(folder: Path, content: dict[str, Any]) -> Iterator[Two]:
    """A lab of that Lab file, up, with the machine ``east`` joined; ended with all its processes.
    This process asks it as the command line does here."""
    file, bundle = folder / "far.yaml", folder / "east.bundle"
    file.write_text(json.dumps(content))
    here, far = Cli(folder / "here"), Far(folder / "far")
    patch = pytest.MonkeyPatch()
    patch.setenv("KEYSTEAD_STATE_HOME", str(here.home))
    try:
        up = here.begin("up", str(file), "-n", "far", "--progress", "plain")
        heard = ("wait for machine east" in line for line in up.stderr or ())
        assert any(heard), up.communicate(timeout=10)
        here.ok("lab", "bundle", "east", "-n", "far", "-o", str(bundle))
        far.join(bundle)
        _, told = up.communicate(timeout=120)
        assert up.returncode == 0, told
        yield Two(here, far, bundle)
    finally:
        far.end()
        here.end()
        patch.undo()


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with joined(tmp_path_factory.mktemp("two"), lab_file()) as made:
        yield made


def unlocked(two: Two) -> list[str]:
    """Hosts of VMs whose keys are there."""
    return sorted(vm.host for vm in two.ask(GetVms()).items if vm.crypto == "unlocked")


def test_the_lab_is_one_and_its_clocks_are_known(two: Two) -> None:
    assert until(lambda: unlocked(two) == ["esxi-001", "esxi-002"], 20), two.ask(GetVms())
    assert two.far.nodes() == ["ks-esxi-002"], "its process is there, under its agent"
    east = two.machine()
    assert (east.standing, east.nodes, east.processes) == ("joined", 1, 1)
    assert east.clock_offset_s is not None and east.clock_error_ms is not None
    assert abs(east.clock_offset_s - two.far.ahead_s) < 0.5 and east.clock_error_ms < 500
    assert "joined: the lease is 15 s" in two.far.said
    late = [node.counters.get("late", 0) for node in two.ask(GetNodes()).items]
    assert sum(late) == 0, "three hours are no delay"
    shown = two.here.ok("get", "machines", "-n", "far").out.splitlines()
    assert [line.split()[:3] for line in shown[1:]] == [
        ["here", "here", "3"],
        ["east", "joined", "1"],
    ]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_a_time_of_day_that_is_hours_ahead_and_jumps_changes_nothing(two: Two) -> None:
    wall = two.machine().wall_offset_s
    assert wall is not None and abs(wall - AHEAD_S) < 2
    joins = two.far.said.count("joined")
    two.far.set_time_of_day(AHEAD_S + 600)
    assert until(lambda: (two.machine().wall_offset_s or 0) > AHEAD_S + 500, 10), "it jumped"
    east = two.machine()
    assert (east.standing, east.jumps) == ("joined", 0) and east.clock_error_ms is not None
    two.ask(HostReboot(("esxi-002",)))
    assert two.host() == "running"
    assert not [n.node for n in two.ask(GetNodes()).items if n.counters.get("late", 0)]
    assert two.far.said.count("joined") == joins, "no lease was lost"
    two.far.set_time_of_day(AHEAD_S)
    assert until(lambda: (two.machine().wall_offset_s or 0) < AHEAD_S + 500, 10)


def test_what_a_node_there_logs_is_read_here(two: Two) -> None:
    assert "esxi-002" in two.here.ok("logs", "esxi-002", "-n", "far").out


@pytest.mark.slow
def test_a_node_there_is_killed_paused_and_cut_as_one_here(two: Two) -> None:
    do = two.here.ok
    do("host", "pause", "esxi-002", "-n", "far")
    assert two.host() == "paused"
    (process,) = (p for p in two.far.cli.processes() if p.status() == psutil.STATUS_STOPPED)
    do("host", "resume", "esxi-002", "-n", "far")
    assert process.status() != psutil.STATUS_STOPPED and two.host() == "running"
    do("fault", "proc.kill", "on=esxi-002", "-n", "far")
    assert not process.is_running(), "its process was ended on its machine"
    do("heal", "--all", "-n", "far")
    assert until(two.running, 20)
    do("link", "cut", "vcenter", "esxi-002", "-n", "far")
    do("heal", "--all", "-n", "far")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_what_a_replaced_bundle_held_is_not_let_in_any_more(two: Two) -> None:
    """Its agent ends, and its nodes with it; the new bundle joins in its place."""
    newer = two.bundle.with_name(f"{time.monotonic_ns()}.bundle")
    two.here.ok("lab", "bundle", "east", "-n", "far", "-o", str(newer))
    older, two.bundle = two.bundle, newer
    assert until(lambda: two.far.agents() == [] and two.far.nodes() == [], 40)
    assert "KS-AGENT-004: what this bundle of machine east holds is not known" in two.far.said
    assert "a newer one has taken its place" in two.far.said
    copy = Cli(two.far.cli.home.parent / "copy")("agent", "join", str(older))
    assert copy.code == 1 and "KS-AGENT-004" in copy.err, copy
    two.far.join(newer)
    assert until(lambda: two.stands("joined"), 60)
    assert until(two.running, 30)


@pytest.mark.slow
def test_a_second_machine_with_the_same_bundle_is_refused(two: Two, tmp_path: Path) -> None:
    ran = Cli(tmp_path / "third")("agent", "join", str(two.bundle))
    assert ran.code == 1 and "KS-AGENT-004" in ran.err, ran
    assert "used on another machine" in ran.err and "keystead lab bundle" in ran.err
    copy = tmp_path / "copy"
    shutil.copytree(two.far.cli.home / "agents", copy / "agents")
    ran = Cli(copy)("agent", "join", str(two.bundle))
    assert ran.code == 1 and "KS-AGENT-005" in ran.err and "answers" in ran.err, ran
    ran = two.far.cli("agent", "join", str(two.bundle))
    assert ran.code == 1 and "KS-AGENT-005" in ran.err and "runs here already" in ran.err, ran
    edited = tmp_path / "edited"
    edited.write_bytes(two.bundle.read_bytes().replace(b'"machine":"east"', b'"machine":"west"'))
    ran = Cli(tmp_path / "third")("agent", "join", str(edited))
    assert ran.code == 4 and "KS-AGENT-002" in ran.err, ran
    assert two.stands("joined") and two.far.nodes() == ["ks-esxi-002"]


@pytest.mark.slow
def test_an_agent_tells_a_document_a_line_where_it_is_asked_to(two: Two, tmp_path: Path) -> None:
    begun = time.time()
    ran = Cli(tmp_path / "fourth")("agent", "join", str(two.bundle), "-o", "json")
    told = [json.loads(line) for line in ran.out.splitlines()]
    assert [sorted(line) for line in told] == [["apiVersion", "at", "kind", "text"]] * len(told)
    assert {line["kind"] for line in told} == {"AgentTold"}
    assert told[0]["text"].startswith("machine east of the lab far at 127.0.0.1:")
    assert all(begun - 1 < line["at"] < time.time() + 1 for line in told)
    assert ran.code == 1 and "KS-AGENT-004" in ran.err
    refused = Cli(tmp_path / "fourth")("agent", "join", str(two.bundle), "-o", "yaml")
    assert refused.code == 64 and "KS-USE-003" in refused.err


@pytest.mark.slow
def test_a_short_silence_changes_nothing_and_a_lease_ends_the_nodes(two: Two) -> None:
    (process,) = (p for p in two.far.cli.processes() if p.pid and p.name().startswith("ks-"))
    two.proxy().suspend()
    time.sleep(4)
    two.proxy().resume()
    assert until(lambda: two.stands("joined"), 10)
    assert process.is_running() and two.host() == "running"
    leases = two.far.said.count("was not heard")
    two.proxy().suspend()
    try:
        assert until(lambda: two.far.nodes() == [], 30), "the agent ended them by itself"
        assert until(lambda: two.stands("away"), 30) and two.host() == "gone"
        described = two.ask(DescribeHost("esxi-002")).reasons[0]
        assert "machine east, which is away" in described.why
        assert "keystead agent join" in described.cure
        refused = two.here("host", "reboot", "esxi-002", "-n", "far")
        assert "esxi-002" in refused.err and "keystead agent join" in refused.err, refused
    finally:
        two.proxy().resume()
    assert two.far.said.count("was not heard for 15 s: all processes are ended") == leases + 1
    assert until(lambda: two.stands("joined"), 40), "it came back by itself"
    assert until(two.running, 20)


@pytest.mark.slow
def test_an_agent_that_is_killed_takes_its_nodes_along_and_comes_back_at_once(two: Two) -> None:
    joins, before = two.far.said.count("joined"), len(two.far.said)
    two.far.signal(signal.SIGKILL)
    assert until(lambda: two.far.nodes() == [], 5)
    two.far.join(two.bundle)
    assert until(lambda: two.far.said.count("joined") > joins, 60)
    assert "waits: the lease" not in two.far.said[before:], "nobody waits for a lease"
    assert until(two.running, 20)


@pytest.mark.slow
def test_processes_of_an_agent_that_stands_still_end_with_the_lease(two: Two) -> None:
    ended = two.far.said.count("was not heard")
    two.far.signal(signal.SIGSTOP)
    try:
        assert until(lambda: two.far.nodes() == [], 25), "each of them sees the end itself"
    finally:
        two.far.signal(signal.SIGCONT)
    assert until(lambda: two.far.said.count("was not heard") > ended, 5)
    assert until(lambda: two.stands("joined"), 20)
    assert until(two.running, 20)


@pytest.mark.slow
def test_an_agent_that_is_told_to_end_is_known_to_have_ended(two: Two) -> None:
    two.far.signal(signal.SIGTERM)
    assert until(lambda: two.far.agents() == [] and two.far.nodes() == [], 30)
    assert until(lambda: two.stands("away"), 2), "it said so; nobody waits for a lease"
    two.far.join(two.bundle)
    assert until(lambda: two.stands("joined"), 60)
    assert until(two.running, 20)


@pytest.mark.slow
def test_a_lab_that_is_taken_down_ends_what_is_elsewhere(two: Two) -> None:
    two.here.ok("down", "-n", "far")
    assert two.far.nodes() == [] and len(two.far.agents()) == 1
    assert "the lab is taken down" in two.far.said
    two.here.ok("up", "-n", "far")
    assert two.stands("joined") and two.host() == "running"
    vms = two.here.ok("get", "vms", "-n", "far", "-o", "json").items()
    assert [vm["host"] for vm in vms] == ["esxi-001", "esxi-002"]
    assert until(two.running, 20)


@pytest.mark.slow
def test_a_supervisor_that_is_back_within_the_lease_finds_its_nodes_running(two: Two) -> None:
    (process,) = (p for p in two.far.cli.processes() if p.name().startswith("ks-"))
    two.ask(LinkCut(a="vcenter", b="esxi-002"))
    before = two.ask(GetStatus())
    (vm,) = (vm for vm in two.ask(GetVms()).items if vm.host == "esxi-002")
    os.kill(before.supervisor, signal.SIGKILL)
    ran = two.here("up", "-n", "far")
    assert ran.code == 0, ran
    assert process.is_running() and two.far.nodes() == ["ks-esxi-002"]
    assert two.ask(GetStatus()).lab_time > before.lab_time, "time has gone on"
    boots = {str(node.node): node.boot for node in two.ask(GetNodes()).items}
    assert boots["vcenter"] > 1, "what stood here has lost its power"
    assert until(lambda: not any(link.rules for link in two.ask(GetLinks()).items), 5)
    assert until(lambda: connected(two), 20), "the cut of the time before is healed there too"
    assert [one.vm for one in two.ask(GetVms()).items if one.host == "esxi-002"] == [vm.vm]


def connected(two: Two) -> bool:
    return all(host.connection == "connected" for host in two.ask(GetHosts()).items)


@pytest.mark.slow
def test_a_killed_supervisor_leaves_no_node_behind(two: Two) -> None:
    supervisor = two.here.ok("status", "-n", "far", "-o", "json").json["supervisor"]
    os.kill(supervisor, signal.SIGKILL)
    assert until(lambda: two.far.nodes() == [], 30), "the lease is over"
    ran = Cli(two.far.cli.home.parent / "late")("agent", "join", str(two.bundle))
    assert ran.code == 69 and "KS-AGENT-006" in ran.err, ran
    two.here("up", "-n", "far")  # it may say that nodes are off, of a machine that came late
    assert until(lambda: two.stands("joined"), 40)
    assert until(two.running, 20)
