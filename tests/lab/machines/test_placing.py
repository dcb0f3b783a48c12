"""``machines:`` in a Lab file: what stands where, and what does not fit."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from lab.building.course import unheard
from lab.processes.agents import AgentProcess, own_records
from lab.processes.process_lab import ProcessLab
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import Topology, plan
from protocol.errors import NotAvailable
from protocol.messages.agent import NodeRecord
from protocol.messages.base import Event
from protocol.messages.machines import MachineLeaves
from protocol.terms import NodeName, VmName
from services.runtime.real.world import LabTime
from tests.lab.machines.conftest import lab_file, trusted_file

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
        ({"datastores": [{"name": "x", "folder": "/mnt"}]}, "no cluster has the datastore x"),
        ({"datastores": [{"name": "x", "folder": "mnt"}]}, "an absolute path"),
        ({"datastores": [{"name": "x", "folder": "/mnt"}], "machines": []}, "with `machines:`"),
        ({"machines": [EAST, EAST]}, "the machine name east is used twice"),
        ({"machines": [EAST, {"name": "west", "clusters": ["b"]}]}, "stands on machine east"),
        ({"machines": [{"name": "east", "clusters": ["c"]}]}, "no c among the clusters"),
        (
            {"machines": [{"name": "east", "nodes": ["esxi-001"]}]},
            "its datastore lies in no shared folder",
        ),
        ({"machines": [{"name": "east"}]}, "nothing stands on machine east"),
        ({"machines": [{"name": "here", "clusters": ["b"]}]}, "a word of its own"),
        ({"machines": [{**EAST, "lease_s": 1}]}, "greater than or equal to 2"),
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
    datastores = [{"name": "shared", "folder": "/mnt/lab"}]
    with pytest.raises(KeysteadError, match="shared is named twice"):
        load(lab_file(clusters=clusters, datastores=datastores * 2))
    made = plan(load(lab_file(clusters=clusters, datastores=datastores)))
    here, (there,) = made.shared, made.machines[0].shared
    assert here == (there,) and (there.name, there.folder) == ("shared", "/mnt/lab")


def spread(hosts: list[str], **cluster: Any) -> dict[str, Any]:
    """Cluster b with three hosts, of which some stand on machine ``east``."""
    clusters = [dict(one) for one in lab_file()["clusters"]]
    clusters[1] |= {"datastore": "common", "hosts": {"count": 3, "tpm": "none", **cluster}}
    return lab_file(
        clusters=clusters,
        machines=[{"name": "east", "nodes": hosts}],
        datastores=[{"name": "common", "folder": "/mnt/lab"}],
    )


def test_hosts_of_a_cluster_stand_on_several_machines_where_its_datastore_is_shared() -> None:
    made = plan(load(spread(["esxi-003", "esxi-004"])))
    (east,) = made.machines
    assert east.nodes == ("esxi-003", "esxi-004") and east.arrays == ("common",)
    assert [one.name for one in east.shared] == [one.name for one in made.shared] == ["common"]
    with pytest.raises(KeysteadError, match="packed into a process"):
        load(spread(["esxi-003"], pack=2))
    both = spread(["esxi-003"]) | {
        "machines": [
            {"name": "east", "nodes": ["esxi-003"]},
            {"name": "west", "clusters": ["b"]},
        ]
    }
    with pytest.raises(KeysteadError, match="esxi-003 stands on machine west already"):
        load(both)


def test_a_trust_authority_stands_on_a_machine_as_a_whole_or_host_by_host() -> None:
    first, second = ("attestation-1", "keyprovider-1"), ("attestation-2", "keyprovider-2")
    east, west = plan(load(trusted_file())).machines
    assert east.nodes == ("esxi-001", "esxi-002") and east.arrays == ("datastore-a",)
    assert west.nodes == (*first, *second) and west.arrays == ()
    apart = [{"name": "one", "nodes": first}, {"name": "two", "nodes": second}]
    one, two = plan(load(trusted_file(machines=apart))).machines
    assert (one.nodes, two.nodes) == (first, second)
    assert len(one.processes) == len(two.processes) == 1, "a host's services are one process"
    half = plan(load(trusted_file(machines=apart[1:])))
    assert [machine.nodes for machine in half.machines] == [second], "the other one is here"


@pytest.mark.parametrize(
    ("machines", "text"),
    [
        ([{"name": "one", "nodes": ["attestation-1"]}], "are one host"),
        (
            [
                {"name": "one", "nodes": ["attestation-1"]},
                {"name": "two", "nodes": ["keyprovider-1"]},
            ],
            "are one host, and stand on one machine",
        ),
        ([{"name": "one", "nodes": ["attestation-3"]}], "there is no attestation-3"),
        (
            [
                {"name": "one", "clusters": ["ta"]},
                {"name": "two", "nodes": ["attestation-2", "keyprovider-2"]},
            ],
            "attestation-2 stands on machine one already, with all of its cluster",
        ),
        ([{"name": "one", "clusters": ["ta"], "pool": True}], "for the hosts of one cluster"),
    ],
)
def test_services_of_a_trust_authority_that_stand_nowhere(
    machines: list[dict[str, Any]], text: str
) -> None:
    with pytest.raises(KeysteadError, match=text) as refused:
        load(trusted_file(machines=machines))
    assert refused.value.id == "KS-TOPO-001"


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


async def test_no_host_is_added_here_to_a_cluster_whose_machine_is_away(
    topology: Topology, tmp_path: Path
) -> None:
    lab = ProcessLab(tmp_path, topology, LabTime(0.0, 0.0, 1.0), 1, listen="127.0.0.1:0")
    spec = msgspec.structs.replace(lab.spec(NodeName("esxi-002")), node=NodeName("esxi-003"))
    with pytest.raises(
        KeysteadError, match="machine east, where hosts of b stand, is away"
    ) as away:
        await lab.add_node(spec)
    assert away.value.id == "KS-AGENT-008"
    assert not (tmp_path / "identity" / "node" / "esxi-003.json").exists()


async def test_a_machine_that_comes_while_processes_start_gets_its_own(
    topology: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was neither among those that are started then, nor among those that are waited for."""
    lab = ProcessLab(tmp_path, topology, LabTime(0.0, 0.0, 1.0), 1, listen="127.0.0.1:0")
    assert lab.roster is not None
    east, spawned = lab.roster.machines["east"], list[str]()
    here, there = AgentProcess("agent-1", []), AgentProcess("agent-4", [], machine=east)
    lab._processes += [here, there]

    async def spawn(process: AgentProcess) -> None:
        east.joined.set()
        process.child = cast(Any, SimpleNamespace(gone=asyncio.Event()))
        spawned.append(process.name)

    monkeypatch.setattr(lab, "_spawn", spawn)
    await lab._start_processes(unheard)
    async with asyncio.timeout(5):
        await asyncio.gather(*lab._respawns.values())
    assert spawned == ["agent-1", "agent-4"]


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
