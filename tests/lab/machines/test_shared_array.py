"""Clusters of one datastore on several machines: its folder is tried at each join, and refused
where it cannot hold it; VMs move between machines in the one that fits."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.lab.arrays.file_systems import bad_calls, mounted
from tests.lab.cli.conftest import Cli, until
from tests.lab.machines.conftest import lab_file

__all__ = ["bad_calls"]  # a fixture

pytestmark = [pytest.mark.lab, pytest.mark.slow]


def file_of(folder: Path) -> dict[str, object]:
    """A cluster of three hosts: one here, one on each of two machines."""
    made = lab_file(name="common")
    cluster = {**made["clusters"][0], "datastore": "common", "hosts": {"count": 3, "tpm": "none"}}
    cluster["vms"] = {"count": 3, "provider": "kms-provider"}
    machines = [{"name": "east", "nodes": ["esxi-002"]}, {"name": "west", "nodes": ["esxi-003"]}]
    datastores = [{"name": "common", "folder": str(folder)}]
    return {**made, "clusters": [cluster], "machines": machines, "datastores": datastores}


def leaves_nothing(
    here: Cli, agents: list[subprocess.Popen[str]], machines: tuple[Cli, ...], common: Path
) -> None:
    """A lab that is removed for good, while its machines are there."""
    here.ok("down", "-n", "common", "--purge")
    codes = [agent.wait(20) for agent in agents]
    assert codes == [0, 0], [agent.communicate() for agent in agents]
    assert list(common.iterdir()) == []
    for machine in machines:
        assert [path.name for path in (machine.home / "agents").iterdir() if path.is_dir()] == []
    said, _ = agents[0].communicate()
    assert "the lab is removed, and so is " in said


@pytest.mark.timeout(240)
def test_a_folder_that_does_not_fit_is_refused_and_one_that_does_is_shared(
    tmp_path: Path, bad_calls: Path
) -> None:
    common, other = tmp_path / "common", tmp_path / "other"
    for folder in (common, other):
        folder.mkdir()
    file = tmp_path / "common.yaml"
    file.write_text(json.dumps(file_of(common)))
    here, east, west = (Cli(tmp_path / name) for name in ("here", "east", "west"))
    bad = {
        calls: Cli(
            west.home,
            **{"LD_PRELOAD": str(bad_calls), "BAD_CALLS": calls, "BAD_UNDER": str(common)},
            PYTHONPATH="",  # it is a process of its own
        )
        for calls in ("no-locks", "no-fsync")
    }
    up = here.begin("up", str(file), "-n", "common", "--progress", "plain")
    agents: list[subprocess.Popen[str]] = []
    try:
        assert any("wait for machine" in line for line in up.stderr or ())
        bundles = {name: str(tmp_path / f"{name}.bundle") for name in ("east", "west")}
        for name, bundle in bundles.items():
            here.ok("lab", "bundle", name, "-n", "common", "-o", bundle)
        agents.append(east.begin("agent", "join", bundles["east"]))
        for cli, words, error_id in (
            (west, ("--arrays", str(other)), "KS-ARRAY-001"),
            (west, ("--arrays", str(tmp_path / "typo")), "KS-ARRAY-004"),
            (bad["no-locks"], (), "KS-ARRAY-002"),
            (bad["no-fsync"], (), "KS-ARRAY-003"),
        ):
            ran = cli("agent", "join", bundles["west"], *words)
            assert ran.code == 1 and error_id in ran.err, ran
            assert "on machine west: " in ran.err and "fix: " in ran.err, ran
        assert list(other.iterdir()) == [], "nothing is left where nothing fits"
        agents.append(west.begin("agent", "join", bundles["west"]))
        _, told = up.communicate(timeout=120)
        assert up.returncode == 0, told
        moved = here("vm", "migrate", "vm-02", "--host", "esxi-003", "-n", "common")
        assert moved.code == 0, moved
        vms = here.ok("get", "vms", "-n", "common", "-o", "json").items()
        assert {vm["vm"]: vm["host"] for vm in vms}["vm-02"] == "esxi-003"
        assert {path.name for path in (common / "common/vms").iterdir()} == {
            "vm-01",
            "vm-02",
            "vm-03",
        }
        assert until(lambda: len(list((common / "common/signs").iterdir())) == 3, 5)
        # Another lab finds the folder taken, before it starts anything.
        second = Cli(tmp_path / "second")
        refused = second("up", str(file), "-n", "second")
        assert refused.code == 1 and "KS-ARRAY-006" in refused.err, refused
        assert "of the lab common" in refused.err
        leaves_nothing(here, agents, (east, west), common)
    finally:
        for cli in (west, east, here):
            cli.end()
        for process in (up, *agents):
            process.communicate(timeout=10)


@pytest.mark.timeout(120)
def test_a_full_or_read_only_folder_here_ends_the_start(tmp_path: Path) -> None:
    at = tmp_path / "common"
    at.mkdir()
    file = tmp_path / "common.yaml"
    file.write_text(json.dumps(file_of(at)))
    here = Cli(tmp_path / "here")
    for mount, error_id in (
        (f"mount -t tmpfs -o size=512k tmpfs {at}", "KS-ARRAY-005"),
        (f"mount -t tmpfs -o ro tmpfs {at}", "KS-ARRAY-004"),
    ):
        ran = subprocess.run(
            [*mounted(mount), "./keystead", "up", str(file), "-n", "common"],
            env=here.env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 1 and f"{error_id}: here: " in ran.stderr, ran.stderr
    assert here.alone()
