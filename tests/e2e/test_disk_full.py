"""A full disk is refused in one clear way, loses nothing acknowledged, and is no defect."""

from __future__ import annotations

from typing import TypeVar

import pytest

from lab.api.commands import Command, GetNodes, GetVms, HostPowerLoss, VmCreate, VmOn
from lab.api.table import perform
from lab.errors import KeysteadError
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import NodeName, PowerState

pytestmark = pytest.mark.sim
A = TypeVar("A")


@pytest.mark.parametrize("node", ["vcenter", "kms", "esxi-001"])
def test_who_has_no_room_refuses_and_goes_on_afterwards(node: str) -> None:
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model", key_persistence=True)), 2)

    def do(command: Command[A]) -> A:
        return lab.run(perform(session, command))

    store = lab.world.store(NodeName(node))
    store.full = True
    with pytest.raises(KeysteadError) as caught:
        do(VmCreate("vm-02", encrypted=True))
    assert caught.value.id == "KS-PRODUCT-001" and store.refused > 0
    store.full = False
    do(HostPowerLoss(("esxi-001",)))
    lab.run(lab.sleep(120))
    powers = {str(v.vm): v.power for v in do(GetVms()).items}
    assert powers["vm-01"] is PowerState.ON
    do(VmCreate("vm-03", encrypted=True))
    (row,) = do(VmOn(("vm-03",))).items
    assert row.power is PowerState.ON
    counters = {n.node: n.counters.get("internal_errors", 0) for n in do(GetNodes()).items}
    assert set(counters.values()) == {0}
    lab.loop.close()
