"""A machine that vanishes under load: errors are counted by id, nothing that was acknowledged is
lost, and no node is alive twice.

A lab of three machines on one: a supervisor, and two agents in state folders of their own.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from chaos.checks import CHECKS, judge
from chaos.checks.result import CheckOutcome
from chaos.history import Record, verify
from lab.runs.store import RunFolder
from protocol.errors import REGISTRY
from tests.lab.cli.conftest import Cli, until
from tests.lab.machines.conftest import lab_file
from tests.lab.machines.test_story import Far

pytestmark = [pytest.mark.lab, pytest.mark.slow]

FILE = {
    "apiVersion": "keystead/v1",
    "kind": "Experiment",
    "name": "vanishing",
    "title": "A machine vanishes while people go on working",
    "topology": {"use": "far.yaml"},
    "load": {
        "rate": "1/s",
        "for": "400s",
        "mix": {"key": 4, "power": 3, "challenge": 6, "encrypt": 1},
        "thresholds": ["all.errors < 100%"],
    },
    "hypothesis": {
        "before": [{"probe": "vm.running", "is": "== 100%", "within": "300s"}],
        "recover": {"within": "10s"},
        "after": [{"probe": "host.up", "is": ">= 50%"}],
    },
    "guards": {"max_duration": "1h"},
    "schedule": [],
}
KEPT = ("acked_key_recoverable", "acked_vm_known", "one_host_per_vm", "one_effect")
"""Checks of what was acknowledged, and of what is alive twice."""


@dataclass
class Watch:
    """Looks all the time at which nodes' processes run, on all machines."""

    machines: list[Cli]
    twice: set[str] = field(default_factory=set)
    looks: int = 0

    def nodes(self) -> list[str]:
        found = []
        for machine in self.machines:
            for process in machine.processes():
                with suppress(OSError, psutil.Error):
                    name = Path(f"/proc/{process.pid}/comm").read_text().strip()
                    if name.startswith("ks-esxi") and process.status() != psutil.STATUS_STOPPED:
                        found.append(name)
        return found

    @contextmanager
    def looking(self) -> Iterator[None]:
        over = threading.Event()

        def look() -> None:
            while not over.wait(0.1):
                nodes = self.nodes()
                self.twice.update(node for node in nodes if nodes.count(node) > 1)
                self.looks += 1

        thread = threading.Thread(target=look)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()


@dataclass
class Three:
    """Hosts ``esxi-001`` here, ``esxi-002`` on east, ``esxi-003`` on west."""

    here: Cli
    east: Far
    west: Far
    bundle: Path
    file: Path

    def ok(self, *words: str) -> Any:
        return self.here.ok(*words, "-n", "far", "-o", "json").json

    def stands(self, machine: str, standing: str) -> bool:
        items = self.ok("get", "machines")["items"]
        return any((m["machine"], m["standing"]) == (machine, standing) for m in items)

    def state(self, node: str) -> str:
        return next(str(n["state"]) for n in self.ok("get", "nodes")["items"] if n["node"] == node)

    def running(self, node: str) -> bool:
        if self.state(node) == "off":
            self.here("host", "power-on", node, "-n", "far")
        return self.state(node) == "running"

    def begin(self) -> subprocess.Popen[str]:
        """A load on it, when it has begun to offer."""
        words = ["load", "run", str(self.file), "--mode", "lab", "--on", "far", "-o", "json"]
        load = self.here.begin(*words)
        begun = until(lambda: bool(self.rate()) or load.poll() is not None, 60)
        assert begun and load.poll() is None, load.poll() is not None and load.communicate()
        return load

    def rate(self) -> list[str]:
        """Loads that run."""
        runs = self.here.home / "runs"
        return [path.parent.name for path in runs.glob("*/control")]

    def ended(self, load: subprocess.Popen[str]) -> tuple[int, dict[str, Any], str]:
        out, err = load.communicate(timeout=200)
        assert out, err
        return load.returncode, json.loads(out), err


@pytest.fixture
def three(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Three]:
    cluster = lab_file()["clusters"][0]
    names = ("a", "b", "c")
    machines = [
        {"name": "east", "clusters": ["b"], "lease_s": 6},
        {"name": "west", "clusters": ["c"], "lease_s": 6},
    ]
    lab = lab_file(
        pace=10, clusters=[{**cluster, "name": name} for name in names], machines=machines
    )
    file = tmp_path / "far.yaml"
    file.write_text(json.dumps(lab))
    here, east, west = Cli(tmp_path / "here"), Far(tmp_path / "east"), Far(tmp_path / "west")
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(here.home))
    experiment = tmp_path / "vanishing.yaml"
    experiment.write_text(json.dumps({**FILE, "topology": {"use": str(file)}}))
    made = Three(here, east, west, tmp_path / "east.bundle", experiment)
    try:
        up = here.begin("up", str(file), "-n", "far", "--progress", "plain")
        heard = ("wait for machine" in line for line in up.stderr or ())
        assert any(heard), up.communicate(timeout=10)
        for name, far in (("east", east), ("west", west)):
            bundle = tmp_path / f"{name}.bundle"
            here.ok("lab", "bundle", name, "-n", "far", "-o", str(bundle))
            far.join(bundle)
        _, told = up.communicate(timeout=120)
        assert up.returncode == 0, told
        yield made
    finally:
        for end in (east, west, here):
            end.end()


def judged(run: str) -> tuple[tuple[Record, ...], dict[str, CheckOutcome]]:
    """The history of a run, which is whole, and what the checks say of it."""
    records = verify(RunFolder(run).history)
    names = [name for name in KEPT if name in CHECKS]
    assert names == list(KEPT)
    return records, {result.name: result.result for result in judge(names, records)}


def counted(report: dict[str, Any]) -> None:
    """Every operation has one end, and each failed one an id."""
    every = report["items"][-1]
    assert every["offered"] == report["generator"]["drawn"] > 300
    assert every["ok"] + every["failed"] == every["offered"]
    assert sum(every["errors"].values()) == every["failed"] > 0
    words = {"no host answers for it"}
    assert set(every["errors"]) <= {*REGISTRY, *words, "Open"}, every["errors"]
    assert "Internal" not in every["errors"]


@pytest.mark.timeout(420)
def test_a_machine_that_is_killed_under_load_loses_nothing(three: Three) -> None:
    watch = Watch([three.here, three.east.cli, three.west.cli])
    with watch.looking():
        load = three.begin()
        time.sleep(8)
        three.east.signal(signal.SIGKILL)
        assert until(lambda: three.east.nodes() == [], 5)
        assert until(lambda: three.stands("east", "away"), 30)
        assert three.state("esxi-003") == three.state("esxi-001") == "running"
        three.east.join(three.bundle)
        assert until(lambda: three.stands("east", "joined"), 60)
        assert until(lambda: three.running("esxi-002"), 30)
        code, report, err = three.ended(load)
    assert code == 5 and report["verdict"] == "error", err
    assert "KS-AGENT-008" in err and f"run {report['run']} on the lab far" in err
    counted(report)
    records, checks = judged(report["run"])
    assert set(checks.values()) == {CheckOutcome.PASS}, checks
    assert watch.twice == set() and watch.looks > 50
    known = {vm["vm"] for vm in three.ok("get", "vms")["items"]}
    made = {r.data["vm"] for r in records if r.type == "ok" and r.op == "vm.encrypt"}
    assert made and made <= known


@pytest.mark.timeout(420)
def test_a_machine_that_stood_still_and_was_replaced_comes_back_without_its_nodes(
    three: Three, tmp_path: Path
) -> None:
    """As a machine that hung, or whose network did: another one has its place when it wakes."""
    other = Far(tmp_path / "other")
    watch = Watch([three.here, three.east.cli, three.west.cli, other.cli])
    frozen = three.east.cli.processes()
    try:
        with watch.looking():
            load = three.begin()
            time.sleep(8)
            for process in frozen:
                process.suspend()
            newer = tmp_path / "newer.bundle"
            three.here.ok("lab", "bundle", "east", "-n", "far", "-o", str(newer))
            other.join(newer)
            assert until(lambda: three.stands("east", "joined"), 60)
            assert until(lambda: three.running("esxi-002"), 40)
            for process in frozen:
                with suppress(psutil.Error):
                    process.resume()
            assert until(lambda: three.east.nodes() == [], 2), "each sees the end of its lease"
            code, report, err = three.ended(load)
        assert code == 5 and "KS-AGENT-008" in err, err
        counted(report)
        _, checks = judged(report["run"])
        assert set(checks.values()) == {CheckOutcome.PASS}, checks
        assert other.nodes() == ["ks-esxi-002"]
    finally:
        other.end()
