"""Who is there: what a lab tells is made once, and anew when somebody comes or goes."""

from __future__ import annotations

import msgspec

from lab.simulation.sim_lab import SimLab
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import NodeName, VmName

NEW = NodeName("esxi-009")


def test_the_directory_follows_nodes_and_vms() -> None:
    lab = SimLab(plan(load("default", hosts=1, vms=1, tpm="none")), 1)
    before = lab.directory()
    assert lab.directory() is before
    lab.know_vm(VmName("vm-new"))
    assert lab.directory().vms == (*before.vms, "vm-new")
    lab.forget_vm(VmName("vm-new"))
    assert lab.directory() == before
    spec = lab.spec(lab.hosts()[0])
    lab.run(lab.add_node(msgspec.structs.replace(spec, node=NEW)))
    assert [entry.node for entry in lab.directory().nodes] == [*(e.node for e in before.nodes), NEW]
