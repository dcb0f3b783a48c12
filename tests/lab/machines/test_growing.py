"""A machine that gets a host of its cluster, as its supervisor sees it."""

from __future__ import annotations

from lab.state.state_folder import LabFolder
from lab.topology.plan import Topology
from protocol.terms import ClusterName, NodeName
from tests.lab.machines.test_roster import Client, made


async def test_a_host_that_is_added_there_may_speak_for_itself_and_one_that_was_not_may_not(
    folder: LabFolder, topology: Topology
) -> None:
    roster = made(folder, topology, Client())
    east = roster.of_cluster(ClusterName("b"))
    assert east is roster.machines["east"] and roster.of_cluster(ClusterName("a")) is None
    before, node = east.plan, NodeName("esxi-003")
    roster.grow(east, 5, node)
    assert roster.of_node(node) is east and roster.of_process(5) is east
    assert east.plan.nodes == ("esxi-002", node) and list(east.parts) == ["agent-5"]
    assert roster._speaks_of["agent-5"] == (node,)
    roster.shrink(5, node)
    roster.shrink(5, node)
    assert east.plan == before and roster.of_node(node) is None and not east.parts
    assert "agent-5" not in roster._speaks_of
