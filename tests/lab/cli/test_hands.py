"""What hands expect of a running lab: names, watching, waiting, quiet, completion."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.cli.conftest import Cli

pytestmark = pytest.mark.lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Cli]:
    cli = Cli(tmp_path / "state")
    ran = cli.ok("up", "--hosts", "2", "--vms", "2", "--tpm", "none", "--pace", "100", "-q")
    assert ran.out == "default\n" and ran.err == ""
    yield cli
    cli.end()


@pytest.mark.slow
def test_names_watching_waiting_and_completion(lab: Cli) -> None:
    assert lab.ok("get", "hosts", "esxi-002", "esxi-001", "-q").out == "esxi-002\nesxi-001\n"
    rows = lab.ok("get", "vms", "vm-02", "--no-headers").out.splitlines()
    assert len(rows) == 1 and rows[0].startswith("vm-02 ")
    missing = lab("get", "vms", "vm-07")
    assert missing.code == 64 and "there is no vm vm-07" in missing.err

    watch = lab.begin("get", "vms", "-w", "--sort-by", "host")
    assert watch.stdout is not None
    first = [watch.stdout.readline().split()[1] for _ in range(3)]
    assert first == ["VM", "vm-01", "vm-02"]
    lab.ok("vm", "off", "vm-02")
    changed = watch.stdout.readline().split()
    assert changed[1:4] == ["vm-02", "esxi-002", "poweredOff"]
    assert changed[-4:] == ["POWER", "poweredOn", "->", "poweredOff"]
    for _ in range(2):  # one that comes back as it was is news again
        lab.ok("vm", "create", "passing", "--host", "esxi-001")
        assert watch.stdout.readline().split()[1] == "passing"
        lab.ok("vm", "destroy", "passing")
        assert watch.stderr is not None and watch.stderr.readline() == "passing is gone\n"
    watch.send_signal(signal.SIGINT)
    assert watch.wait(20) == 130
    watch.communicate()

    lab.ok("wait", "--for", "vm.off=vm-02", "--for", "host.connected=all")
    late = lab("wait", "--for", "vm.running=all", "--timeout", "1s")
    assert late.code == 6 and "KS-WAIT-001: vm.running=all: not running: vm-02" in late.err

    typed = lab.ok("__complete", "describe", "host", "esxi-").out
    assert "esxi-001" in typed and "esxi-002" in typed and "vcenter" not in typed
    assert "vm-01" in lab.ok("__complete", "vm", "on", "").out


def test_a_fault_has_one_name_with_hyphens_or_underscores(lab: Cli) -> None:
    lab.ok("fault", "host.power-loss", "on=esxi-001")
    assert "esxi-001" in lab.ok("get", "hosts", "-q").out


@pytest.mark.slow
def test_a_start_that_may_not_take_as_long_as_it_must_says_so(tmp_path: Path) -> None:
    cli = Cli(tmp_path / "state")
    ran = cli("up", "--hosts", "2", "--tpm", "none", "--timeout", "300ms", "--progress", "none")
    assert ran.code == 1 and "did not become ready within 0.3 s" in ran.err
    assert cli.alone() and cli.labs() == []
