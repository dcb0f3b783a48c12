"""VMs and hosts leave vCenter and come back, typed into the real program, over a stop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli.conftest import Cli

pytestmark = pytest.mark.lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path / "state")
    cli.ok("up", "--hosts", "2", "--vms", "2", "--tpm", "none")
    yield cli
    cli.end()


def names(cli: Cli, what: str) -> set[str]:
    return set(cli.ok("get", what, "-o", "name").out.split())


@pytest.mark.slow
def test_vms_and_hosts_leave_and_come_back(lab: Cli) -> None:
    refused = lab("vm", "destroy", "vm-01", "vm-02")
    assert refused.code == 1 and "InvalidPowerState" in refused.err
    assert names(lab, "vms") == {"vm-01", "vm-02"}
    lab.ok("vm", "off", "all")
    lab.ok("vm", "destroy", "vm-01")
    assert lab.ok("vm", "unregister", "vm-02", "-o", "json").items() == [
        {
            "vm": "vm-02",
            "host": "esxi-002",
            "error_id": None,
            "error": None,
            "fault": "",
            "keys": [],
        }
    ]
    lost = lab("vm", "register", "vm-01")
    assert lost.code == 64 and "no files" in lost.err
    back = lab.ok("vm", "register", "vm-02", "--host", "esxi-001", "-o", "json").json
    assert (back["host"], back["crypto"]) == ("esxi-001", "unlocked")

    table = lab.ok("host", "enter-maintenance", "esxi-002").out
    assert "connected (maintenance)" in table
    lab.ok("host", "remove", "esxi-002")
    assert names(lab, "hosts") == {"esxi-001"}
    assert "keystead host add esxi-002" in lab.ok("describe", "host", "esxi-002").out
    lab.ok("host", "disconnect", "esxi-001")

    lab.ok("down")
    lab.ok("up")
    (host,) = lab.ok("get", "hosts", "-o", "json").items()
    assert (host["host"], host["connection"]) == ("esxi-001", "disconnected")
    assert names(lab, "vms") == {"vm-02"}, "what was destroyed is not made again"
    (host,) = lab.ok("host", "reconnect", "esxi-001", "-o", "json").items()
    assert host["connection"] == "connected"
    lab.ok("host", "add", "esxi-002")
    hosts = lab.ok("get", "hosts", "-o", "json").items()
    assert {h["host"]: h["in_maintenance_mode"] for h in hosts} == {
        "esxi-001": False,
        "esxi-002": True,
    }
    lab.ok("host", "exit-maintenance", "esxi-002")
    lab.ok("vm", "on", "vm-02")


@pytest.mark.slow
def test_a_host_takes_over_a_vm_by_itself(lab: Cli) -> None:
    """HA by hand: the kernel frees the lock of the host whose power is lost, and only then."""
    there = ("vm-01", "--host", "esxi-002", "--on-host")
    lab.ok("host", "power-off", "vcenter")
    back = lab.ok("vm", "register", *there, "-o", "json").json
    assert (back["host"], back["power"], back["crypto"]) == ("esxi-002", "poweredOff", "unlocked")
    refused = lab("vm", "on", *there)
    assert refused.code == 1 and "locked on the datastore by esxi-001" in refused.err
    lab.ok("host", "dump", "write", "esxi-001", "before", "--marker", "of this test")
    assert "of this test" in lab.ok("host", "dump", "decrypt", "esxi-001", "before").out
    lab.ok("host", "power-loss", "esxi-001", "--stay-off")
    lab.ok("vm", "on", *there)
    lab.ok("host", "power-on", "esxi-001", "vcenter")
    lab.ok("vm", "unregister", "vm-01", "--host", "esxi-001", "--on-host")
    (vm,) = lab.ok("get", "vms", "vm-01", "-o", "json").items()
    assert (vm["host"], vm["power"]) == ("esxi-002", "poweredOn")
    (dump,) = lab.ok("host", "dump", "list", "esxi-001", "-o", "json").items()
    assert (dump["dump"], dump["readable"]) == ("before", True), "vCenter brought its key again"
    lab.ok("host", "dump", "remove", "esxi-001", "before")
    words = lab("vm", "unregister", "vm-01", "--host", "esxi-001")
    assert words.code == 64 and "use --on-host and --host together" in words.err


@pytest.mark.slow
def test_a_key_that_was_destroyed_is_restored_from_a_backup(lab: Cli) -> None:
    assert "backup before of kms" in lab.ok("kms", "backup", "before").err
    (key,) = {
        k["key"]
        for k in lab.ok("get", "keys", "-o", "json").items()
        if k["encrypted_vms"] == ["vm-01"]
    }
    lab.ok("kms", "key", "destroy", key)
    assert lab.ok("kms", "key", "show", key, "-o", "json").json["state"] == "Destroyed"
    assert "restored before to kms" in lab.ok("kms", "restore", "before").err
    assert lab.ok("kms", "key", "show", key, "-o", "json").json["state"] == "Active"
    assert "Restore" in [row["operation"] for row in lab.ok("kms", "audit", "-o", "json").items()]
    never = lab("kms", "restore", "never")
    assert never.code == 64 and "'never'" in never.err


@pytest.mark.slow
def test_machines_are_installed_anew_and_a_vcenter_is_restored(lab: Cli, tmp_path: Path) -> None:
    lab.ok("provider", "create", "nkp")
    lab.ok("provider", "export", "nkp", str(tmp_path / "nkp.p12"))
    assert "backup before of vcenter" in lab.ok("vcenter", "backup", "before").err
    changed = lab.ok("provider", "update", "nkp", "-o", "json").json
    assert (changed["health"], len(changed["key_id"])) == ("WARNING", 36)
    lab.ok("provider", "add", "second", "--server", "kms")
    restored = lab.ok("vcenter", "restore", "before").err
    assert "restored before to vcenter" in restored
    assert "warning: it does not know the key providers second any more" in restored
    never = lab("vcenter", "restore", "never", "-o", "json")
    assert never.code == 64 and "'never'" in never.err

    row = lab.ok("host", "reinstall", "esxi-002", "-o", "json").items()[0]
    assert (row["host"], row["machine"], row["boot"]) == ("esxi-002", "running", 2)
    (row,) = lab.ok("vcenter", "rebuild", "-o", "json").items()
    assert (row["host"], row["machine"]) == ("vcenter", "running")
    assert names(lab, "hosts") == names(lab, "providers") == set()
