"""What a supervisor keeps of its lab for the next one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from lab.supervise.state_folder import LabFolder, LabRecord
from lab.supervise.supervisor import Supervisor
from lab.topology.lab_file import load
from protocol.terms import NodeName


def test_a_host_that_was_added_is_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    folder = LabFolder("one")
    folder.make()
    file = load("default", hosts=1, vms=0, tpm="none").model_dump(mode="json")
    supervisor = Supervisor(folder, LabRecord(name="one", file=file, seed=1, wall=0.0), -1)
    own = supervisor.lab.spec(NodeName("esxi-001"))
    added = msgspec.structs.replace(own, node=NodeName("esxi-002"))
    for spec in (own, added, added):
        supervisor.session.host_added(spec)
    kept = folder.record()
    assert kept is not None
    assert [host["node"] for host in kept.hosts_added] == ["esxi-002"]
