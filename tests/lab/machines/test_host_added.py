"""A host that is added to a cluster on another machine: its identity comes after the bundle."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab.schema.commands import GetHosts, GetNodes, HostPowerOn
from lab.state.state_folder import LabFolder
from tests.lab.cli.conftest import until
from tests.lab.machines.conftest import lab_file
from tests.lab.machines.test_story import Two, joined

pytestmark = [pytest.mark.lab, pytest.mark.timeout(240)]

NEW = "esxi-003"


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with joined(tmp_path_factory.mktemp("grown"), lab_file()) as made:
        before = private(folder_there(made))
        made.here.ok("host", "add", "--cluster", "b", "-n", "far")
        assert until(lambda: connected(made), 30)
        assert private(folder_there(made)) - before == {f"node/{NEW}", "control/agent-5"}
        yield made


def folder_there(two: Two) -> Path:
    (found,) = (path for path in (two.far.cli.home / "agents").iterdir() if path.is_dir())
    return found


def private(folder: Path) -> set[str]:
    return {
        f"{path.parent.name}/{path.stem}"
        for kind in ("node", "control")
        for path in (folder / "identity" / kind).glob("*.json")
    }


def connected(two: Two) -> bool:
    found = {h.host: (h.connection, h.machine) for h in two.ask(GetHosts()).items}
    return found == dict.fromkeys(("esxi-001", "esxi-002", NEW), ("connected", "running"))


def powered(two: Two) -> bool:
    """Those that were off are on again, and connected."""
    off = [n.node for n in two.ask(GetNodes()).items if n.state == "off"]
    if off:
        two.ask(HostPowerOn(tuple(off)))
    return connected(two)


@pytest.mark.slow
def test_it_runs_there_with_its_own_identity_and_no_others(two: Two) -> None:
    assert len(two.far.nodes()) == 2
    assert not (LabFolder("far").path / "nodes" / NEW).exists(), "its disk is there"
    assert (folder_there(two) / "nodes" / NEW / "disk").is_dir()
    lab = LabFolder("far").path
    for name in (f"node/{NEW}", "control/agent-5"):
        path = folder_there(two) / "identity" / f"{name}.json"
        assert path.read_bytes() == (lab / "identity" / f"{name}.json").read_bytes()
        assert path.stat().st_mode & 0o77 == 0
    east = two.machine()
    assert (east.nodes, east.processes) == (2, 2)
    vm = two.here.ok("vm", "create", "late", "--encrypted", "--host", NEW, "-n", "far")
    assert vm.code == 0
    two.here.ok("host", "reboot", NEW, "-n", "far")
    assert until(lambda: connected(two), 30)
    assert NEW in two.here.ok("logs", NEW, "-n", "far").out


@pytest.mark.slow
def test_what_was_added_is_not_seen_in_what_passes_the_broker(two: Two) -> None:
    """Neither seed is in any log of the lab, on either machine."""
    seeds = [
        json.loads((folder_there(two) / "identity" / f"{name}.json").read_bytes())["seed"].encode()
        for name in (f"node/{NEW}", "control/agent-5")
    ]
    logs = [*(LabFolder("far").path / "logs").iterdir(), two.far.log]
    assert not [path for path in logs for seed in seeds if seed in path.read_bytes()]


@pytest.mark.slow
def test_an_agent_that_is_started_again_has_it(two: Two) -> None:
    two.far.signal(signal.SIGKILL)
    two.far.join(two.bundle)
    assert until(lambda: two.stands("joined"), 40)
    assert until(lambda: powered(two), 60)


@pytest.mark.slow
def test_a_supervisor_that_is_back_within_the_lease_finds_it_running(two: Two) -> None:
    processes = sorted(p.pid for p in two.far.cli.processes() if p.name().startswith("ks-"))
    supervisor = two.here.ok("status", "-n", "far", "-o", "json").json["supervisor"]
    os.kill(supervisor, signal.SIGKILL)
    ran = two.here("up", "-n", "far")
    assert ran.code == 0, ran
    assert processes == sorted(
        p.pid for p in two.far.cli.processes() if p.name().startswith("ks-")
    ), "none was started anew, and none is there twice"
    assert until(lambda: connected(two), 40)


@pytest.mark.slow
def test_a_lab_that_is_up_again_has_it_there(two: Two) -> None:
    two.here.ok("down", "-n", "far")
    assert until(lambda: two.far.nodes() == [], 20)
    two.here.ok("up", "-n", "far")
    assert until(lambda: connected(two), 60)
    assert two.machine().processes == 2


@pytest.mark.slow
def test_a_new_bundle_has_it_too(two: Two) -> None:
    """A machine that has lost its folder is another one."""
    newer = two.bundle.with_name("newer.bundle")
    told = two.here.ok("lab", "bundle", "east", "-n", "far", "-o", str(newer)).out
    assert "2 nodes" in told
    assert until(lambda: two.far.agents() == [] and two.far.nodes() == [], 40)
    shutil.rmtree(two.far.cli.home / "agents")
    two.bundle = newer
    two.far.join(newer)
    assert until(lambda: two.stands("joined"), 60)
    assert private(folder_there(two)) == {
        *(f"node/{node}" for node in ("esxi-002", NEW)),
        *(f"control/{agent}" for agent in ("agent-4", "agent-5", "machine-east")),
    }
    assert until(lambda: two.machine().processes == 2, 30)
    assert until(lambda: powered(two), 60)


@pytest.mark.slow
def test_on_a_machine_that_is_away_nothing_is_added(two: Two) -> None:
    two.far.signal(signal.SIGTERM)
    assert until(lambda: two.stands("away"), 30)
    ran = two.here("host", "add", "--cluster", "b", "-n", "far")
    assert ran.code == 1 and "KS-AGENT-008" in ran.err and "machine east" in ran.err, ran
    lab = LabFolder("far")
    record = lab.record()
    assert record is not None and len(record.hosts_added) == 1
    assert not (lab.path / "identity" / "node" / "esxi-004.json").exists()
    two.far.join(two.bundle)
    assert until(lambda: two.stands("joined"), 40)
    assert until(lambda: powered(two), 60)
