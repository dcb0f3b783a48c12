"""Clones, templates and snapshots at the command line, on a lab of real processes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli.conftest import Cli

pytestmark = pytest.mark.lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path / "state")
    cli.ok("up", "--hosts", "2", "--vms", "1", "--tpm", "none", "--pace", "100", "-q")
    yield cli
    cli.end()


@pytest.mark.slow
def test_a_vm_is_kept_copied_and_brought_back(lab: Cli) -> None:
    taken = lab.ok("vm", "snapshot", "create", "vm-01", "before")
    assert "before" in taken.out
    kept = lab.ok("vm", "snapshot", "create", "vm-01", "running", "--memory")
    assert "before,running (memory)" in kept.out
    assert "running: with memory" in lab.ok("describe", "vm", "vm-01").out
    lab.ok("vm", "clone", "vm-01", "live", "--host", "esxi-002")
    lab.ok("vm", "off", "vm-01")
    assert "poweredOn" in lab.ok("vm", "snapshot", "revert", "vm-01", "running").out
    lab.ok("vm", "off", "vm-01")
    suppressed = lab.ok("vm", "snapshot", "revert", "vm-01", "running", "--suppress-power-on")
    assert "poweredOff" in suppressed.out
    lab.ok("vm", "snapshot", "remove", "vm-01", "running")
    deep = lab("vm", "recrypt", "vm-01", "--deep")
    assert deep.code == 1 and "has snapshots (before)" in deep.err

    lab.ok("vm", "clone", "vm-01", "copy")
    lab.ok("vm", "clone", "vm-01", "new", "--recrypt", "--host", "esxi-002")
    vms = {vm["vm"]: vm for vm in lab.ok("get", "vms", "-o", "json").items()}
    assert vms["copy"]["key"] == vms["vm-01"]["key"] != vms["new"]["key"]
    assert vms["new"]["host"] == "esxi-002" and vms["copy"]["snapshots"] == []
    assert vms["live"]["host"] == "esxi-002" and vms["live"]["power"] == "poweredOff"
    lab.ok("vm", "on", "copy", "new", "live")
    lab.ok("host", "power-loss", "esxi-001", "esxi-002")
    lab.ok(
        "wait", "--for", "vm.running=copy", "--for", "vm.running=new", "--for", "vm.running=live"
    )

    lab.ok("vm", "snapshot", "revert", "vm-01", "before")
    lab.ok("vm", "snapshot", "remove", "vm-01", "before")
    lab.ok("vm", "recrypt", "vm-01", "--deep")
    lab.ok("vm", "template", "vm-01")
    refused = lab("vm", "on", "vm-01")
    assert refused.code == 1 and "template" in refused.err
    lab.ok("vm", "template", "vm-01", "--off")
    lab.ok("vm", "on", "vm-01")
