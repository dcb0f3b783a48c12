"""A machine without room refuses what would stop a node before the node is stopped."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest

from chaos.administration import back_up
from lab.schema.commands import Command, HostReboot, KmsBackup, KmsRestore, VcenterBackup
from lab.schema.errors import KeysteadError
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.simulation.sim_lab import SimLab, make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.errors import SaveFailed
from protocol.messages.agent import DiskAct, NodeRunState
from protocol.terms import NodeName

pytestmark = pytest.mark.sim
FULL = SaveFailed("the disk refused: No space left on device")
KMS = """
apiVersion: keystead/v1
kind: Lab
vcenters: [{name: vcenter}]
kms: [{name: kms-1}, {name: kms-2}]
providers: [{name: pair, servers: [kms-1, kms-2]}]
clusters: [{name: a, hosts: {count: 1, tpm: none}, vms: {count: 0, provider: pair}}]
"""


@pytest.fixture
def made(tmp_path: Any) -> tuple[SimLab, LabSession]:
    file = tmp_path / "lab.yaml"
    file.write_text(KMS)
    return make(plan(load(file)), 5)


def states(lab: SimLab) -> dict[str, tuple[NodeRunState, int]]:
    nodes = cast(Sequence[Any], lab.run(lab.nodes()))
    return {str(one.node): (one.state, one.boot) for one in nodes}


@pytest.mark.parametrize(
    "command",
    [
        KmsBackup("first", ("kms-1",)),
        KmsRestore("first", ("kms-1",)),
        HostReboot(("kms-2", "esxi-001")),
        VcenterBackup("first"),
    ],
    ids=lambda command: type(command).__name__,
)
def test_no_node_is_stopped(
    made: tuple[SimLab, LabSession], monkeypatch: pytest.MonkeyPatch, command: Command[Any]
) -> None:
    lab, session = made

    async def refuses(node: NodeName, *, to_copy: bool = False) -> None:
        if node in ("kms-2", "vcenter"):  # the second of those that would be stopped
            raise FULL

    monkeypatch.setattr(lab, "check_room", refuses)
    before = states(lab)
    with pytest.raises(KeysteadError, match="No space left") as told:
        lab.run(perform(session, command))
    assert told.value.id == "KS-PRODUCT-001"
    assert states(lab) == before
    assert {state for state, _ in before.values()} == {NodeRunState.RUNNING}


def test_one_that_cannot_start_again_keeps_no_other_off(
    made: tuple[SimLab, LabSession], monkeypatch: pytest.MonkeyPatch
) -> None:
    lab, _ = made
    servers = (NodeName("kms-1"), NodeName("kms-2"))
    power_on = lab.power_on

    async def refuses(node: NodeName, *rest: Any, **more: Any) -> Any:
        if node == servers[0]:
            raise FULL
        return await power_on(node, *rest, **more)

    async def full(node: NodeName, act: DiskAct, label: str) -> None:
        raise FULL

    with monkeypatch.context() as machine:
        machine.setattr(lab, "power_on", refuses)
        machine.setattr(lab, "disk", full)
        with pytest.raises(SaveFailed):
            lab.run(back_up(lab, servers, "first"))
    found = {node: state for node, (state, _) in states(lab).items()}
    assert (found["kms-1"], found["kms-2"]) == (NodeRunState.OFF, NodeRunState.RUNNING)
