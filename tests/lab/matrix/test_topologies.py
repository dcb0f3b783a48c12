"""Where hosts of a staging run: strangers share a process, hosts of one event never do."""

from __future__ import annotations

import pytest

from chaos.matrix.grid import Staging
from chaos.matrix.terms import Boot
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.matrix.bench import HOSTS_IN_ONE, pack_processes, topology_of
from protocol.messages.agent import TpmBackend
from protocol.terms import Role


@pytest.mark.parametrize(
    ("block", "events"),
    [
        (Block.S11, tuple(TableEvent)[:11]),
        (Block.T10, tuple(TableEvent)[:11]),
        (Block.S11, (TableEvent.E12,)),
    ],
)
def test_hosts_of_one_event_never_share_a_process(
    block: Block, events: tuple[TableEvent, ...]
) -> None:
    staging = Staging(block=block, fault=TableFault.F1, boot=Boot.ORDERLY, events=events)
    usual = topology_of(staging, TpmBackend.MODEL)
    made = pack_processes(usual)
    assert made.nodes == usual.nodes
    assert sorted(node for group in made.groups for node in group) == sorted(
        node for group in usual.groups for node in group
    )
    cluster_of = {spec.node: spec.cluster for spec in made.nodes if spec.role is Role.ESXI}
    hosts = [[cluster_of[node] for node in group if node in cluster_of] for group in made.groups]
    assert all(len(set(of)) == len(of) <= HOSTS_IN_ONE for of in hosts)
    assert len(made.groups) <= len(usual.groups)
    if len(events) > 1:  # and fewer processes is what it is for
        assert len(made.groups) < len(usual.groups) - 5
    others = [group for group in usual.groups if cluster_of.keys().isdisjoint(group)]
    assert [group for group in made.groups if cluster_of.keys().isdisjoint(group)] == others
