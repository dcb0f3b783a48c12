"""``machines:`` in a Lab file: what stands where, and what does not fit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.errors import KeysteadError
from lab.processes.agents import AgentProcess, own_records
from lab.processes.process_lab import ProcessLab
from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan
from protocol.errors import NotAvailable
from protocol.messages.agent import NodeRecord
from protocol.messages.base import Event
from protocol.messages.machines import MachineLeaves
from protocol.terms import NodeName, VmName
from services.runtime.real.world import LabTime
from tests.lab.machines.conftest import lab_file

EAST = {"name": "east", "clusters": ["b"]}


def test_whole_processes_stand_on_a_machine(topology: Topology) -> None:
    (east,) = topology.machines
    assert (east.nodes, east.processes, east.arrays) == (("esxi-002",), (4,), ("datastore-b",))
    far = plan(load(lab_file(machines=[{"name": "m", "clusters": ["a"], "nodes": ["kms"]}])))
    assert far.machines[0].nodes == ("kms", "esxi-001")


def test_without_machines_nothing_is_planned() -> None:
    assert plan(load("default")).machines == ()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"machines": [EAST, EAST]}, "the machine name east is used twice"),
        ({"machines": [EAST, {"name": "west", "clusters": ["b"]}]}, "stands on machine east"),
        ({"machines": [{"name": "east", "clusters": ["c"]}]}, "no c among the clusters"),
        ({"machines": [{"name": "east", "nodes": ["esxi-001"]}]}, "no esxi-001 among the key"),
        ({"machines": [{"name": "east"}]}, "nothing stands on machine east"),
        ({"machines": [{"name": "here", "clusters": ["b"]}]}, "a word of its own"),
        ({"machines": [{**EAST, "lease_s": 1}]}, "greater than or equal to 2"),
        ({"kms": [{"name": "kms", "door": "kmip"}]}, "not available yet"),
    ],
)
def test_what_does_not_fit(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(KeysteadError, match=text) as refused:
        load(lab_file(**changes))
    assert refused.value.id == "KS-TOPO-001"


def test_clusters_that_share_a_datastore_stand_together() -> None:
    clusters = [{**one, "datastore": "shared"} for one in lab_file()["clusters"]]
    with pytest.raises(KeysteadError, match="such clusters stand together"):
        load(lab_file(clusters=clusters))
    together = [{"name": "east", "clusters": ["a", "b"]}]
    load(lab_file(clusters=clusters, machines=together))


async def test_files_there_are_not_looked_into_from_here(
    topology: Topology, tmp_path: Path
) -> None:
    lab = ProcessLab(tmp_path, topology, LabTime(0.0, 0.0, 1.0), 1, listen="127.0.0.1:0")
    there, vm = NodeName("esxi-002"), VmName("vm-02")
    for look in (
        lab.tpm_nv(there),
        lab.disk_file(there, "x"),
        lab.disk_images(there),
        lab.put_disk_file(there, "x", b""),
        lab.datastore_file("datastore-b", vm, "x"),
        lab.spoil("datastore-b", vm, "x", b""),
        lab.at_rest(),
    ):
        with pytest.raises(NotAvailable, match="machine east"):
            await look
    assert await lab.tpm_nv(NodeName("esxi-001")) == b""


async def test_no_host_is_added_beside_the_array_of_its_cluster(
    topology: Topology, tmp_path: Path
) -> None:
    lab = ProcessLab(tmp_path, topology, LabTime(0.0, 0.0, 1.0), 1, listen="127.0.0.1:0")
    spec = msgspec.structs.replace(lab.spec(NodeName("esxi-002")), node=NodeName("esxi-003"))
    with pytest.raises(NotAvailable, match="machine east"):
        await lab.add_node(spec)
    assert not (tmp_path / "identity" / "node" / "esxi-003.json").exists()


def test_a_lab_that_nobody_can_join_has_no_machines(topology: Topology, tmp_path: Path) -> None:
    with pytest.raises(KeysteadError) as refused:
        ProcessLab(tmp_path, topology, LabTime(0.0, 0.0, 1.0), 1)
    assert refused.value.id == "KS-AGENT-007"
    assert refused.value.exit_code == 4, "1 is an experiment that failed"


def test_a_machine_makes_no_evidence_of_nodes_of_others() -> None:
    heard: list[tuple[str, str]] = []
    of = {
        NodeName("kms"): AgentProcess("agent-1", [NodeName("kms")]),
        NodeName("esxi-002"): AgentProcess("agent-4", [NodeName("esxi-002")]),
    }

    def note(sender: str, event: Event) -> None:
        heard.append((sender, event.node if isinstance(event, NodeRecord) else ""))

    hear = own_records(of, note)
    for sender, node in (("agent-4", "esxi-002"), ("agent-4", "kms"), ("agent-4", "nobody")):
        hear(
            sender,
            NodeRecord(at=0.0, node=NodeName(node), boot=1, level="info", kind="k"),
        )
    hear("supervisor", MachineLeaves(machine="east", run="r"))
    assert heard == [("agent-4", "esxi-002"), ("supervisor", "")]
