"""Places of a pool: who gets which host, and what is refused in its file."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabRecord, Place
from lab.supervise.launching import size_of
from lab.topology.lab_file import LabFile, load
from lab.topology.plan import as_recorded, next_place, plan, spec_of, vms_of, with_places
from protocol.terms import ClusterName, NodeName
from tests.lab.machines.conftest import lab_file


def pool_file(**pool: Any) -> dict[str, Any]:
    """Two hosts with a VM each here, and a pool of hosts with two VMs each."""
    vms = {"count": 2, "provider": "p"}
    return {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "vcenters": [{"name": "vcenter"}],
        "kms": [{"name": "kms"}],
        "providers": [{"name": "p", "servers": ["kms"]}],
        "clusters": [
            {"name": "a", "hosts": {"count": 2, "tpm": "none"}, "vms": vms},
            {"name": "b", "hosts": {"count": 0, "tpm": "none", "key_persistence": True}}
            | {"vms": vms},
        ],
        "machines": [{"name": "racks", "clusters": ["b"], "pool": True, "lease_s": 5, **pool}],
    }


def given(file: LabFile, *machines: str) -> list[Place]:
    places: list[Place] = []
    for machine in machines:
        places.append(next_place(file, places, "racks", machine))
    return places


def test_each_machine_gets_the_next_host_and_its_vms() -> None:
    file = load(pool_file())
    places = given(file, "one", "two")
    assert [place.node for place in places] == ["esxi-003", "esxi-004"]
    assert [[vm.vm for vm in vms_of(file, places, place)] for place in places] == [
        ["vm-03", "vm-04"],
        ["vm-05", "vm-06"],
    ]
    spec = spec_of(file, places[0])
    assert (spec.cluster, spec.config["datastore"]) == ("b", "datastore-b")


def test_a_lab_that_goes_on_has_all_that_was_given_in_the_same_processes() -> None:
    file = load(pool_file())
    bare = plan(file)
    assert bare.machines == () and not bare.key_persistence
    places = given(file, "one", "two")
    first, both = with_places(bare, file, places[:1]), with_places(bare, file, places)
    assert both.groups[: len(first.groups)] == first.groups
    assert both.groups[len(bare.groups) :] == (("esxi-003",), ("esxi-004",))
    one, two = both.machines
    assert (one.machine, one.nodes, one.pool) == ("one", ("esxi-003",), "racks")
    assert (one.lease_s, one.arrays) == (5, ())
    assert both.groups[two.processes[0] - 1] == ("esxi-004",)
    assert both.key_persistence == ("esxi-003", "esxi-004")
    assert with_places(bare, file, []) == bare


def test_a_host_that_was_added_stands_where_its_cluster_does_in_the_process_that_it_had() -> None:
    file = load(lab_file())
    like = plan(file).spec(NodeName("esxi-002"))
    added = [
        msgspec.structs.replace(like, node=NodeName(f"esxi-00{number}"), cluster=cluster)
        for number, cluster in ((3, ClusterName("b")), (4, ClusterName("a")), (5, like.cluster))
    ]
    record = LabRecord(
        name="far", file={}, seed=1, wall=0.0, hosts_added=(*map(msgspec.to_builtins, added),)
    )
    topology = as_recorded(file, record)
    assert [spec.node for spec in topology.nodes[-3:]] == ["esxi-003", "esxi-004", "esxi-005"]
    first = len(plan(file).groups) + 1
    assert topology.groups[first - 1 :] == (("esxi-003",), ("esxi-004",), ("esxi-005",))
    (east,) = topology.machines
    assert east.nodes == ("esxi-002", "esxi-003", "esxi-005")
    assert east.processes == (first - 1, first, first + 2) and east.later == (first, first + 2)
    bare = msgspec.structs.replace(record, hosts_added=())
    assert as_recorded(file, bare) == plan(file)


def test_hosts_that_came_with_their_machines_are_counted_with_their_vms() -> None:
    """The summary of ``up`` said two VMs and no host of a lab in containers that had none yet."""
    file = load(pool_file())
    topology = with_places(plan(file), file, given(file, "one", "two"))
    content = file.model_dump(mode="json")
    bare = size_of(content)
    assert (bare.hosts, bare.vms, bare.tpm, bare.pools) == (2, 2, {"none": 2}, ("racks",))
    both = size_of(content, 0, given(file, "one", "two"))
    assert (both.hosts, both.vms, both.tpm) == (4, 6, {"none": 4})
    assert both.processes == len(topology.groups) + 4


def test_a_lab_with_one_place_and_a_built_one_is_the_same_lab() -> None:
    file = load(pool_file())
    (place,) = given(file, "one")
    built = msgspec.structs.replace(place, built=True)
    assert with_places(plan(file), file, [place]) == with_places(plan(file), file, [built])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"nodes": ["kms"]}, "for the hosts of one cluster"),
        ({"clusters": ["a"]}, "write `hosts: {count: 0}`"),
        ({"clusters": ["a", "b"]}, "for the hosts of one cluster"),
        ({"pool": "yes"}, "pool"),
        ({"pool": False}, "it has VMs, but no host to run them"),
    ],
)
def test_a_pool_that_cannot_be_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(KeysteadError, match=told) as refused:
        load(pool_file(**change))
    assert refused.value.id == "KS-TOPO-001"


def test_what_is_not_there_for_a_pool_is_said() -> None:
    file = pool_file()
    file["clusters"][1]["ha"] = True
    with pytest.raises(KeysteadError, match="not available yet"):
        load(file)
