"""A full disk is refused in one clear way, loses nothing acknowledged, and is no defect."""

from __future__ import annotations

from typing import TypeVar

import pytest

from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.schema.errors import KeysteadError
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import HostConnectionState, NodeName, PowerState

pytestmark = pytest.mark.sim
A = TypeVar("A")


@pytest.mark.parametrize("node", ["vcenter", "kms", "esxi-001"])
def test_who_has_no_room_refuses_and_goes_on_afterwards(node: str) -> None:
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model", key_persistence=True)), 2)

    def do(command: c.Command[A]) -> A:
        return lab.run(perform(session, command))

    store = lab.world.store(NodeName(node))
    store.full = True
    with pytest.raises(KeysteadError) as caught:
        do(c.VmCreate("vm-02", encrypted=True))
    assert caught.value.id == "KS-PRODUCT-001" and store.refused > 0
    store.full = False
    do(c.HostPowerLoss(("esxi-001",)))
    lab.run(lab.sleep(120))
    powers = {str(v.vm): v.power for v in do(c.GetVms()).items}
    assert powers["vm-01"] is PowerState.ON
    do(c.VmCreate("vm-03", encrypted=True))
    (row,) = do(c.VmOn(("vm-03",))).items
    assert row.power is PowerState.ON
    counters = {n.node: n.counters.get("internal_errors", 0) for n in do(c.GetNodes()).items}
    assert set(counters.values()) == {0}
    lab.loop.close()


@pytest.mark.slow
@pytest.mark.parametrize("switch", ["full", "fail"])
def test_nodes_outlive_disks_that_refuse_for_an_hour(switch: str) -> None:
    lab, session = make(plan(load("default", hosts=2, vms=2, tpm="model", key_persistence=True)), 3)

    def do(command: c.Command[A]) -> A:
        return lab.run(perform(session, command))

    def refuse(on: bool) -> None:
        for node in ("vcenter", "kms", "esxi-001", "esxi-002"):
            setattr(lab.world.store(NodeName(node)), switch, on)

    before: dict[str, int] = {n.node: n.boot for n in do(c.GetNodes()).items}
    refuse(True)
    do(c.LinkCut("vcenter", "kms"))  # a change that vCenter would note
    do(c.VmOff(("vm-01",)))  # and one that a host's view brings it
    lab.run(lab.sleep(600))
    with pytest.raises(KeysteadError):
        do(c.VmCreate("vm-03", encrypted=True))
    do(c.LinkHeal("vcenter", "kms"))
    if switch == "full":  # a disk that cannot be read stops the boot; this one does not
        do(c.HostPowerLoss(("esxi-002",)))
        before["esxi-002"] += 1
    lab.run(lab.sleep(3600))
    found = do(c.GetNodes()).items
    assert {n.node: n.boot for n in found} == before
    assert {n.state for n in found} == {MachineState.RUNNING}
    refuse(False)
    lab.run(lab.sleep(120))
    do(c.VmCreate("vm-04", encrypted=True))
    (row,) = do(c.VmOn(("vm-04",))).items
    assert row.power is PowerState.ON
    assert {h.connection for h in do(c.GetHosts()).items} == {HostConnectionState.CONNECTED}
    counters = {n.node: n.counters.get("internal_errors", 0) for n in do(c.GetNodes()).items}
    assert set(counters.values()) == {0}
    lab.loop.close()
