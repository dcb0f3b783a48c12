"""A full disk is refused in one clear way, loses nothing acknowledged, and is no defect."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from lab.api import run_verb
from lab.errors import KeysteadError
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load, plan
from protocol.terms import NodeName

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("node", ["vcenter", "kms", "esxi-001"])
def test_who_has_no_room_refuses_and_goes_on_afterwards(node: str) -> None:
    lab, session = make(plan(load("default", hosts=1, vms=1, tpm="model", key_persistence=True)), 2)

    def do(verb: str, **arguments: Any) -> Any:
        return msgspec.msgpack.decode(
            lab.run(run_verb(session, verb, msgspec.msgpack.encode(arguments)))
        )

    store = lab.world.store(NodeName(node))
    store.full = True
    with pytest.raises(KeysteadError) as caught:
        do("vm.create", vm="vm-02", encrypted=True)
    assert caught.value.id == "KS-PRODUCT-001" and store.refused > 0
    store.full = False
    do("host.power-loss", hosts=["esxi-001"])
    lab.run(lab.sleep(120))
    names = {v["vm"]: v["power"] for v in do("get.vms")["items"]}
    assert names["vm-01"] == "poweredOn"
    do("vm.create", vm="vm-03", encrypted=True)
    (row,) = do("vm.on", vms=["vm-03"])["items"]
    assert row["power"] == "poweredOn"
    counters = {
        n["node"]: n["counters"].get("internal_errors", 0) for n in do("get.nodes")["items"]
    }
    assert set(counters.values()) == {0}
    lab.loop.close()
