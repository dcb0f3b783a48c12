"""One VM on two hosts: what keeps it from that, and which checks say so when it happened.

A host is cut off on the network and lives. Its heartbeat on the datastore keeps the others from its
VMs; where that is not believed, the lock of each VM does; without the lock two hosts run them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.checks.result import CheckOutcome
from chaos.verdict import Verdict
from services.runtime.sim.runner import run_in_worker
from tests.mutations.play import plant_all, run_experiment

FILE = """
apiVersion: keystead/v1
kind: Experiment
name: split-brain
title: The network of one host is cut off, and its VMs run on
seed: 7
topology: {use: ha, with: {hosts: 3, vms: 3, ha: true}}
requires: {provider: standard, hosts: ">=3"}
hypothesis:
  before: [{probe: vm.running, is: "== 100%", within: 60s}]
  during: [{probe: vm.running, is: "== 100%"}]
  recover: {within: 360s}
  after: [{probe: vm.running, is: "== 100%"}, {probe: vm.works, is: "== 100%"}]
guards: {lease: 120s, max_duration: 12m, blast_radius: {hosts: 100%, vcenter: 1}}
schedule:
  - {id: split, at: 20s, for: 3m, fault: link.cut, between: [esxi-001, [role:esxi, role:vcenter]]}
"""
HEARTBEAT, LOCK = "datastore_heartbeat_ignored", "vm_lock_ignored"


def _played(bugs: tuple[str, ...], path: str) -> Verdict:
    plant_all(bugs)
    return run_experiment("", path, None, {})


@pytest.mark.slow
@pytest.mark.sim
@pytest.mark.parametrize("bugs", [(), (HEARTBEAT,), (HEARTBEAT, LOCK)], ids=lambda b: "+".join(b))
def test_two_hosts_run_one_vm_only_without_its_lock(
    bugs: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """HA-01; ``one_host_per_vm`` and ``one_effect`` are red when it happened, and only then."""
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    file = tmp_path / "split-brain.yaml"
    file.write_text(FILE)
    verdict = run_in_worker(_played, bugs, str(file))
    red = {check.name for check in verdict.checks if check.result is CheckOutcome.FAIL}
    assert red == ({"one_host_per_vm", "one_effect"} if LOCK in bugs else set()), verdict.reasons
