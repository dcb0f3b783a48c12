"""Several hosts in one real process: what befalls one of them leaves the others alone."""

from __future__ import annotations

import signal

import pytest

from lab.client import Lab, Owned
from lab.processes import process_lab
from lab.schema.answers import MachineState
from lab.schema.commands import Esx, GetFaults, GetNodes, HostPowerLoss, HostPowerOn
from lab.schema.errors import KeysteadError
from protocol.terms import NodeName

pytestmark = pytest.mark.lab
FIRST, SECOND = NodeName("esxi-001"), NodeName("esxi-002")
LIST = ("software", "vib", "list")


@pytest.mark.slow
async def test_one_packed_host_is_paused_alone() -> None:
    """No process is stopped: its nodes but one go on, and it goes on where it stood."""
    question = Esx(SECOND, ("system", "settings", "encryption", "get"))
    async with Lab("lab", hosts=3, vms=2, pack=3, tpm="none", pace=60) as lab:
        before = (await lab.do(question)).output
        fault = await lab.fault("proc.pause", on=FIRST)
        nodes = {node.node: node for node in (await lab.do(GetNodes())).items}
        assert nodes[FIRST].state is MachineState.PAUSED
        others = {node.state for name, node in nodes.items() if name != FIRST}
        assert others == {MachineState.RUNNING}
        assert (await lab.do(question)).output == before
        with pytest.raises(KeysteadError, match=f"{FIRST} is paused"):
            await lab.do(Esx(FIRST, LIST))
        assert (await lab.heal()).healed == (fault,)
        assert (await lab.do(GetFaults())).items == ()
        after = {node.node: node for node in (await lab.do(GetNodes())).items}
        assert {node.state for node in after.values()} == {MachineState.RUNNING}
        assert after[FIRST].boot == nodes[FIRST].boot, "the same life goes on"


@pytest.mark.slow
async def test_the_power_of_a_paused_packed_host_can_be_pulled() -> None:
    async with Lab("lab", hosts=2, vms=1, pack=2, tpm="none", pace=60) as lab:
        await lab.fault("proc.pause", on=FIRST)
        await lab.do(HostPowerLoss((FIRST,), stay_off=True))
        states = {node.node: node.state for node in (await lab.do(GetNodes())).items}
        assert (states[FIRST], states[SECOND]) == (MachineState.OFF, MachineState.RUNNING)
        assert (await lab.heal()).left == ()
        await lab.do(HostPowerOn((FIRST,)))
        states = {node.node: node.state for node in (await lab.do(GetNodes())).items}
        assert set(states.values()) == {MachineState.RUNNING}


@pytest.mark.slow
async def test_a_process_that_does_not_answer_is_told_by_its_nodes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Agents have names of their own, which nobody who reads this knows."""
    async with Lab("lab", hosts=2, vms=0, pack=2, tpm="none", pace=100) as lab:
        assert isinstance(lab.way, Owned)
        monkeypatch.setattr(process_lab, "CONTROL_FLOOR_S", 0.2)
        child = lab.way.lab._child(FIRST)
        child.signal(signal.SIGSTOP)
        try:
            with pytest.raises(KeysteadError, match=f"process of {FIRST}, {SECOND}") as raised:
                await lab.do(Esx(FIRST, LIST))
        finally:
            child.signal(signal.SIGCONT)
        assert "agent" not in str(raised.value)
