"""The story by hand, typed into the real program: an outage, locked VMs, sealed keys, the way out.

One small lab for the whole file; tests are steps of one session and run in order.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli.conftest import Cli, until

pytestmark = [pytest.mark.lab, pytest.mark.tpm]

WAIT = 60.0  # real seconds for what takes some lab minutes


def power(cli: Cli) -> dict[str, tuple[str, str | None]]:
    return {v["vm"]: (v["power"], v["crypto"]) for v in cli.ok("get", "vms", "-o", "json").items()}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Cli]:
    """Two hosts with real TPMs, four encrypted VMs; a lab second is 1/100 s."""
    cli = Cli(tmp_path / "state")
    ran = cli.ok("up", "--hosts", "2", "--vms", "4", "--pace", "100", "-o", "json")
    assert ran.json["state"] == "running" and ran.json["tpm"] == {"libtpms": 2}
    yield cli
    cli.end()


def test_the_story(lab: Cli) -> None:
    up = ("poweredOn", "unlocked")
    assert power(lab) == {f"vm-0{n}": up for n in range(1, 5)}

    # The key server cannot be reached: nothing happens to running VMs.
    lab.ok("link", "cut", "vcenter", "kms")
    assert lab.ok("get", "faults", "-o", "name").out == "link-cut-1\n"
    assert power(lab) == {f"vm-0{n}": up for n in range(1, 5)}

    # A reboot: its VMs are locked, with the real event id.
    lab.ok("host", "reboot", "esxi-001")
    assert until(lambda: power(lab)["vm-01"] == ("poweredOff", "locked"), WAIT), power(lab)
    assert power(lab)["vm-02"] == up
    refused = lab("vm", "on", "vm-01", "vm-02")
    assert refused.code == 1 and "EncryptionKeyRequired" in refused.err
    assert "vm-02  esxi-002  poweredOn" in refused.out, "one refusal stopped the others"
    why = lab.ok("describe", "vm", "vm-01").out
    assert "[STD-13]" in why and "[LOCK-01]" in why and "cure: keystead heal --all" in why
    events = [json.loads(line) for line in lab.ok("events", "-o", "json").out.splitlines()]
    assert any(e["event"] == "com.vmware.vc.vm.Crypto.VMLocked.KMSClusterError" for e in events)
    assert [e["sequence"] for e in events] == sorted({e["sequence"] for e in events})

    # Healed: they unlock, and unlocking powers nothing on.
    assert lab.ok("heal", "--all", "-o", "json").json["healed"] == ["link-cut-1"]
    assert until(lambda: power(lab)["vm-01"] == ("poweredOff", "unlocked"), WAIT)
    lab.ok("vm", "on", "--host", "esxi-001")
    assert power(lab)["vm-01"] == power(lab)["vm-03"] == up

    # Key persistence: after a power loss in the next outage the host helps itself.
    esx = ("esx", "esxi-001", "system", "security", "keypersistence")
    assert lab.ok(*esx, "get").out == "   Enabled: false\n"
    lab.ok(*esx, "enable")
    assert lab.ok(*esx, "get").out == "   Enabled: true\n"
    lab.ok("link", "cut", "vcenter", "kms")
    lab.ok("host", "power-loss", "esxi-001")
    assert until(lambda: power(lab)["vm-01"] == up, WAIT), lab("describe", "vm", "vm-01").out
    assert "[KP-07]" in lab.ok("describe", "vm", "vm-01").out
    lab.ok("heal", "--all")

    lab.ok("down", "--purge")
    assert lab.alone() and lab.labs() == []


@pytest.mark.slow
def test_faults_without_undo_are_listed_with_their_cure(lab: Cli) -> None:
    key = next(v["key"] for v in lab.ok("get", "vms", "-o", "json").items())
    lab.ok("kms", "key", "revoke", key)
    assert lab.ok("kms", "key", "show", key, "-o", "json").json["state"] == "Deactivated"
    lab.ok("provider", "delete", "kms-provider")
    assert lab.ok("get", "providers", "-o", "json").items() == []
    healed = lab.ok("heal", "--all", "-o", "json").json
    assert {row["kind"] for row in healed["left"]} == {"kms.key_state", "provider.delete"}
    assert all(row["cure"] for row in lab.ok("get", "faults", "-o", "json").items())
    cured = lab("heal", "--all", "--with-cure", "-o", "json")
    assert cured.code == 0 and cured.json["left"] == [], cured
    assert lab.ok("kms", "key", "show", key, "-o", "json").json["state"] == "Active"
    assert [p["provider"] for p in lab.ok("get", "providers", "-o", "json").items()] == [
        "kms-provider"
    ]
    assert lab.ok("kms", "audit").out.count("\n") > 5


@pytest.mark.slow
def test_everything_can_be_looked_at(lab: Cli) -> None:
    for what in ("hosts", "nodes", "vms", "keys", "providers", "kms", "tpm", "links", "faults"):
        lab.ok("get", what, "-o", "wide")
    for line in ("status", "list", "version", "describe host esxi-001", "tpm inspect esxi-001"):
        lab.ok(*line.split())
        assert lab.ok(*line.split(), "-o", "json").json["apiVersion"] == "keystead/v1"
    assert len(lab.ok("tpm", "pcrs", "esxi-001").out.splitlines()) == 14
    assert "task.begin" in lab.ok("logs", "vcenter").out
    lines = [json.loads(line) for line in lab.ok("logs", "vcenter", "-o", "json").out.splitlines()]
    assert {line["kind"] for line in lines} == {"LogLine"}, "a record's own kind took its place"
    assert "task.begin" in {line["what"] for line in lines}
    assert "task.begin" not in lab.ok("logs", "vcenter", "--level", "error").out


@pytest.mark.slow
def test_what_grows_and_what_fails_survives_a_stop(lab: Cli) -> None:
    # Growing.
    lab.ok("host", "add")
    assert "esxi-003" in lab.ok("get", "hosts", "-o", "name").out
    made = lab.ok("vm", "create", "extra", "--encrypted", "--host", "esxi-003", "-o", "json").json
    assert made["host"] == "esxi-003" and made["crypto"] == "unlocked"
    lab.ok("vm", "on", "extra")
    lab.ok("vm", "off", "extra", "--host", "esxi-003", "--on-host")
    # Faults of every kind of link, and one by its name in files.
    lab.ok("link", "delay", "vcenter", "kms", "2s", "--jitter", "500ms", "--for", "20h")
    lab.ok("link", "loss", "vcenter", "esxi-001", "30%", "--one-way")
    lab.ok("link", "dup", "vcenter", "esxi-002", "50%")
    lab.ok("fault", "proc.kill", "on=esxi-003")
    kinds = [row["kind"] for row in lab.ok("get", "faults", "-o", "json").items()]
    assert kinds == ["link.delay", "link.loss", "link.dup", "proc.kill"]
    lab.ok("link", "heal", "vcenter", "esxi-002")
    lab.ok("heal", "--all")
    assert lab.ok("get", "faults", "-o", "json").items() == []
    # What it was told survives a stop: hosts added, disks, TPMs.
    before = [row["ek"] for row in lab.ok("get", "tpm", "-o", "json").items()]
    lab.ok("down")
    assert lab.alone()
    assert lab("get", "hosts").code == 69
    again = lab.ok("up", "-o", "json").json
    assert again["hosts"] == 3 and len(before) == 3
    assert [row["ek"] for row in lab.ok("get", "tpm", "-o", "json").items()] == before
    assert "extra" in power(lab)
