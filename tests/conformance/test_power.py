"""A life's end takes the power of its TPM too, in both worlds: what was measured is forgotten."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from protocol.messages.agent import Firmware, NodeRunState, PowerOff, PowerOn, SetFirmware
from services.esxi.boot import SCREEN_A
from tests.damage.nodes import HOST, Nodes, make, prepare
from tests.services.esxi.rig import A, Rig

WAYS = ("crash", "power_loss", "stop")


@pytest.mark.lab
@pytest.mark.parametrize("way", WAYS)
def test_a_real_host_boots_with_a_tpm_that_was_off(tmp_path: Path, way: str) -> None:
    async def body() -> None:
        prepare(tmp_path)
        nodes = Nodes(tmp_path)
        await make(nodes)
        await nodes.agent.handle(PowerOff(node=HOST, way=way))
        device = nodes.world.device(HOST)
        assert device is not None and not device.powered
        firmware = Firmware(secure_boot=False)
        await nodes.agent.handle(SetFirmware(node=HOST, firmware=firmware))
        await nodes.agent.handle(PowerOn(node=HOST))
        status = nodes.statuses()[HOST]
        assert (status.state, status.screen) == (NodeRunState.HALTED, SCREEN_A)
        await nodes.crash()

    asyncio.run(body())


@pytest.mark.sim
@pytest.mark.parametrize("way", WAYS)
def test_a_simulated_host_boots_with_a_tpm_that_was_off(way: str) -> None:
    rig = Rig()
    rig.up()
    rig.power_off(way=way)
    device = rig.world.device(A)
    assert device is not None and not device.powered
    rig.set_firmware(secure_boot=False)
    status = rig.power_on()
    assert (status.state, status.screen) == (NodeRunState.HALTED, SCREEN_A)
    rig.close()
