"""A disk that is full on one machine only: what is there refuses and says why, all else goes on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from lab.supervise.launching import ROOT
from tests.lab.arrays.file_systems import mounted
from tests.lab.cli.conftest import Cli, until
from tests.lab.machines.conftest import lab_file

pytestmark = [pytest.mark.lab, pytest.mark.slow]

ROOM = "size=32m"


@contextmanager
def full(agent: psutil.Process, home: Path) -> Iterator[None]:
    """The agent's file system has no room; it is looked at through the agent's own mounts."""
    there = Path(f"/proc/{agent.pid}/root{home}/fill")
    descriptor = os.open(there, os.O_WRONLY | os.O_CREAT, 0o600)
    try:
        for size in (1 << 20, 1 << 12, 1):
            try:
                while os.write(descriptor, bytes(size)):
                    pass
            except OSError as error:
                assert error.errno == 28, error
        yield
    finally:
        os.close(descriptor)
        there.unlink()


@pytest.mark.timeout(240)
def test_a_full_disk_on_one_machine_is_its_own_matter(tmp_path: Path) -> None:
    file, bundle = tmp_path / "far.yaml", tmp_path / "east.bundle"
    file.write_text(json.dumps(lab_file()))
    here, far = Cli(tmp_path / "here"), Cli(tmp_path / "far")
    far.home.mkdir()
    up = here.begin("up", str(file), "-n", "far", "--progress", "plain")
    agent: subprocess.Popen[bytes] | None = None
    try:
        assert any("wait for machine east" in line for line in up.stderr or ())
        here.ok("lab", "bundle", "east", "-n", "far", "-o", str(bundle))
        agent = subprocess.Popen(
            [
                *mounted(f"mount -t tmpfs -o {ROOM} tmpfs {far.home}"),
                *(sys.executable, "-m", "lab.cli.main", "agent", "join", str(bundle)),
            ],
            cwd=ROOT,
            env=far.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, told = up.communicate(timeout=120)
        assert up.returncode == 0, told
        vms = here.ok("get", "vms", "-n", "far", "-o", "json").items()
        (there,) = (vm["vm"] for vm in vms if vm["host"] == "esxi-002")
        (near,) = (vm["vm"] for vm in vms if vm["host"] == "esxi-001")
        with full(psutil.Process(agent.pid), far.home):
            refused = here("vm", "off", there, "-n", "far")
            assert refused.code == 1 and "No space left" in refused.err, refused
            here.ok("vm", "off", near, "-n", "far")
            here.ok("vm", "on", near, "-n", "far")
            machines = here.ok("get", "machines", "-n", "far", "-o", "json").items()
            assert [one["standing"] for one in machines] == ["here", "joined"]
            assert agent.poll() is None
        assert until(lambda: here("vm", "off", there, "-n", "far").code == 0, 20)
        here.ok("vm", "on", there, "-n", "far")
    finally:
        far.end()
        here.end()
        up.communicate(timeout=10)
        if agent is not None:
            agent.wait(10)
