"""A Create by KMIP whose answer is lost leaves a key at its server that nobody ever asks for, as
with the product (decision 60): it stays Pre-Active, and `get kms` counts it so."""

from __future__ import annotations

import asyncio

import pytest

from chaos.faults import make_fault
from lab.schema import commands
from lab.serve.look import key_servers
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.vcenter.providers import GenerateKey
from protocol.terms import KmipState

pytestmark = pytest.mark.sim
STEP_S, STEPS = 0.0005, 60
"""The link is cut so long after a request; at one of these it is between commit and answer."""


def test_a_key_whose_answer_was_lost_is_counted_as_pre_active() -> None:
    lab, session = make(plan(load("kmip", kms=1, hosts=1, vms=1, tpm="model")), 1)

    async def pre_active() -> int:
        [server] = (await key_servers(session, commands.GetKms())).items
        return server.states.get(KmipState.PRE_ACTIVE, 0)

    async def tried(number: int) -> bool:
        """Whether vCenter got its new key though the link was cut on the way."""
        request = GenerateKey(operation_id=f"orphan/{number}")
        asked = asyncio.get_running_loop().create_task(
            lab.ask(lab.vcenter, request, within_s=300.0)
        )
        await lab.sleep(number * STEP_S)
        cut = make_fault("link.cut", "cut", {"between": ["vcenter", "kms"]}, lab.directory())
        await session.keeper.inject(cut, lease_s=600.0)
        done = (await asked).success
        await session.keeper.heal("cut")
        return done

    async def story() -> None:
        known, orphans = 0, 0
        for number in range(STEPS):
            known += await tried(number)
            orphans = await pre_active() - known
            if orphans:
                break
        assert orphans == 1, f"{known} keys were made, and all answers came"

    lab.run(story())
    lab.loop.close()
