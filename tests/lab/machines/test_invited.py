"""Machines that share a folder with their lab: they ask for bundles and places, boot when they
join, say how they are, and are commanded from where nothing of the lab is.

One lab on real processes for all tests; each leaves it with all nodes running.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.supervise.launching import ROOT
from tests.lab.cli.conftest import Cli, until
from tests.lab.topology.test_places import pool_file

pytestmark = [pytest.mark.lab, pytest.mark.slow]

LEASE_S = 4


def shared_file() -> dict[str, Any]:
    """A key server on machine ``keys``, and a pool ``racks`` of hosts."""
    file = pool_file(lease_s=LEASE_S) | {"name": "shared", "pace": 100}
    file["clusters"] = file["clusters"][1:]
    file["clusters"][0]["vms"]["count"] = 1
    file["clusters"][0]["hosts"]["key_persistence"] = False  # which needs a TPM
    file["machines"].append({"name": "keys", "nodes": ["kms"], "lease_s": LEASE_S})
    return file


class Shared:
    """The lab ``shared`` of that file, whose pool is ``racks``."""

    def __init__(self, folder: Path, file: dict[str, Any]) -> None:
        self.folder, self.invitations = folder, folder / "invitations"
        self.lab, self.agents, self.outside = (
            Cli(folder / name) for name in ("lab", "agents", "out")
        )
        (folder / "lab.yaml").write_text(json.dumps(file))
        (folder / "arrays").mkdir()  # as one that is mounted
        for machine in file["machines"]:
            (self.invitations / machine["name"]).mkdir(parents=True)
        self._joined: list[subprocess.Popen[bytes]] = []
        self.up: subprocess.Popen[bytes] | None = None

    def _begin(self, cli: Cli, log: str, *words: str) -> subprocess.Popen[bytes]:
        """What it says goes to a file: nobody reads a pipe of what runs for so long."""
        with (self.folder / log).open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", "lab.cli.main", *words],
                cwd=ROOT,
                env=cli.env,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    def start(self) -> None:
        self.up = self._begin(
            self.lab,
            "up.log",
            *("up", str(self.folder / "lab.yaml"), "-n", "shared", "--foreground", "--retain"),
            *("--invite", str(self.invitations), "--address", "127.0.0.1:0", "--progress", "plain"),
        )

    def join(self, where: str, name: str) -> None:
        arrays = ("--arrays", str(self.folder / "arrays")) if where == "racks" else ()
        words = ("agent", "join", str(self.invitations / where), "--as", name, *arrays)
        self._joined.append(self._begin(self.agents, f"{name}.log", *words))

    def attach(self) -> str:
        """Let commands outside reach the lab."""
        assert until(lambda: (self.lab.home / "labs/shared/tls-proxy/address.json").exists(), 60)
        path = self.folder / "access"
        path.write_text(self.lab.ok("lab", "access", "-n", "shared").out)
        return self.outside.ok("lab", "attach", str(path)).out

    def end(self) -> None:
        for cli in (self.lab, self.agents, self.outside):
            cli.end()
        for process in (*self._joined, *([self.up] if self.up else [])):
            process.wait(10)

    def agent(self, name: str) -> psutil.Process:
        for process in self.agents.processes():
            with suppress(psutil.Error):
                copied = process.name().startswith(("keystead-fork", "ks-"))
                if {"join", name} <= set(process.cmdline()) and not copied:
                    return process
        raise AssertionError(f"no agent of {name}")

    def hosts(self) -> dict[str, tuple[str, str, int]]:
        ran = self.outside("get", "hosts", "-n", "shared", "-o", "json")
        if ran.code:
            return {}
        return {h["host"]: (h["connection"], h["machine"], h["boot"]) for h in ran.items()}

    def vms(self) -> list[tuple[str, str]]:
        vms = self.outside.ok("get", "vms", "-n", "shared", "-o", "json").items()
        return [(vm["vm"], vm["host"]) for vm in vms]

    def up_with(self, **boots: int) -> bool:
        """Whether these hosts are connected, in these boots."""
        wanted = {f"esxi-{n[1:]}": ("connected", "running", boot) for n, boot in boots.items()}
        return self.hosts() == wanted

    def health(self, name: str) -> tuple[int, str]:
        ran = self.agents("healthcheck", "--as", name)
        return ran.code, ran.out


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shared]:
    made = Shared(tmp_path_factory.mktemp("shared"), shared_file())
    try:
        made.join("racks", "one")  # before the lab is there: it waits
        made.start()
        made.join("keys", "keys")
        assert made.attach().startswith("the lab shared at 127.0.0.1:")
        assert until(lambda: made.up_with(n001=1), 90), made.hosts()
        made.join("racks", "two")
        assert until(lambda: made.up_with(n001=1, n002=1), 60), made.hosts()
        yield made
    finally:
        made.end()


@pytest.mark.timeout(180)
def test_a_machine_that_asks_is_a_host_with_its_vms_and_its_disks_are_shared(
    shared: Shared,
) -> None:
    both = [("vm-01", "esxi-001"), ("vm-02", "esxi-002")]
    assert until(lambda: shared.vms() == both, 30), shared.vms()
    assert {path.name for path in (shared.folder / "arrays/datastore-b/vms").iterdir()} == {
        "vm-01",
        "vm-02",
    }
    moved = shared.outside("vm", "migrate", "vm-02", "--host", "esxi-001", "-n", "shared")
    assert moved.code == 0, moved  # both see the files
    refused = shared.outside("host", "add", "esxi-009", "-n", "shared")
    assert refused.code and "hosts of this lab come with machines" in refused.err
    machines = shared.outside.ok("get", "machines", "-n", "shared", "-o", "json").items()
    counts = {one["machine"]: (one["nodes"], one["processes"]) for one in machines}
    assert counts == dict.fromkeys(("here", "keys", "one", "two"), (1, 1))
    # A private file each, and no bundle of one machine is another's.
    bundles = sorted((shared.invitations / "racks").iterdir())
    assert [bundle.name for bundle in bundles] == ["one.bundle", "two.bundle"]
    assert all(bundle.stat().st_mode & 0o77 == 0 for bundle in bundles)


@pytest.mark.timeout(120)
def test_a_machine_that_is_killed_is_ill_and_boots_when_it_comes_back(shared: Shared) -> None:
    boots = {host: boot for host, (_, _, boot) in shared.hosts().items()}
    code, told = shared.health("one")
    assert code == 0 and "esxi-001: running" in told
    shared.agent("one").kill()
    assert until(lambda: shared.health("one")[0] == 1, 10)
    assert "nothing of a lab runs here" in shared.health("one")[1]
    shared.join("racks", "one")
    assert until(lambda: shared.hosts()["esxi-001"][2] == boots["esxi-001"] + 1, 60)
    assert until(lambda: shared.hosts()["esxi-001"][:2] == ("connected", "running"), 60)
    assert until(lambda: shared.health("one")[0] == 0, 10)


def test_health_is_what_the_node_answers(shared: Shared) -> None:
    """A process that stands still is not well, nor is one whose node is off."""
    shared.outside.ok("host", "pause", "kms", "-n", "shared")
    code, told = shared.health("keys")
    assert code == 1 and "does not answer" in told
    shared.outside.ok("host", "resume", "kms", "-n", "shared")
    assert until(lambda: shared.health("keys")[0] == 0, 10)
    shared.outside.ok("host", "power-off", "kms", "-n", "shared")
    code, told = shared.health("keys")
    assert code == 1 and "kms: off" in told
    shared.outside.ok("host", "power-on", "kms", "-n", "shared")
    assert shared.health("keys")[0] == 0
    assert shared.lab("healthcheck").code == 0
    assert shared.outside("healthcheck").code == 1


@pytest.mark.timeout(180)
def test_a_lab_in_the_foreground_goes_on_without_a_machine_that_is_gone(shared: Shared) -> None:
    """An engine that starts it again would do so for ever: a container that is recreated is a new
    machine, and the one before never comes."""
    boots = {host: boot for host, (_, _, boot) in shared.hosts().items()}
    gone = shared.agent("two")
    gone.terminate()
    psutil.wait_procs([gone], 20)
    assert shared.up is not None
    shared.up.send_signal(signal.SIGTERM)
    assert shared.up.wait(60) == 0
    shared.start()
    told = shared.folder / "up.log"
    assert until(lambda: "missing: esxi-002" in told.read_text(), 90), told.read_text()
    assert until(lambda: shared.hosts().get("esxi-001", ("",) * 2)[1] == "running", 30)
    assert shared.up.poll() is None
    shared.join("racks", "two")
    number = boots["esxi-002"] + 1
    assert until(lambda: shared.hosts().get("esxi-002") == ("connected", "running", number), 60)


@pytest.mark.timeout(180)
def test_a_lab_that_goes_on_has_its_places(shared: Shared) -> None:
    """Started again, all machines boot by themselves; detached, it is unknown."""
    boots = {host: boot for host, (_, _, boot) in shared.hosts().items()}
    assert shared.up is not None
    shared.up.send_signal(signal.SIGTERM)
    assert shared.up.wait(60) == 0, (shared.folder / "up.log").read_text()
    gone = shared.outside("get", "hosts", "-n", "shared")
    assert gone.code == 69 and "KS-AGENT-006" in gone.err
    shared.start()
    assert until(
        lambda: (
            bool(shared.hosts())
            and all(
                (state, machine) == ("connected", "running") and boot == boots[host] + 1
                for host, (state, machine, boot) in shared.hosts().items()
            )
        ),
        90,
    ), (shared.hosts(), (shared.folder / "up.log").read_text())
    shared.outside.ok("lab", "detach", "shared")
    unknown = shared.outside("get", "hosts", "-n", "shared")
    assert "KS-LAB-001" in unknown.err
    again = shared.outside("lab", "attach", str(shared.folder / "access"), "--name", "far")
    assert again.code == 0 and shared.outside("get", "hosts", "-n", "far").code == 0
    shared.outside.ok("lab", "detach", "far")
    shared.outside.ok("lab", "attach", str(shared.folder / "access"))
