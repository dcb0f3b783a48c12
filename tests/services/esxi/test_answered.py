"""Answered means durable: whatever was acknowledged is found after a loss of power right behind
the answer, among other commands that are still on their way."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from protocol.errors import ProductError
from protocol.messages.host.crypto import GetCryptoKeyStatus
from protocol.messages.host.session import Command
from protocol.messages.host.vms import HostCreateVm
from protocol.terms import VmName
from services.runtime.bus import IncomingRequest
from services.runtime.incarnation import WayDown
from services.runtime.service import Peer
from tests.services.esxi.rig import VCENTER, A, Rig, add, key

SEEDS = range(1, 31)
BURST: tuple[tuple[str, Command[Any]], ...] = tuple(
    pair
    for n in range(3)
    for pair in (
        (f"vm-{n}", HostCreateVm(vm=VmName(f"vm-{n}"), blocks=8)),
        (f"key-{n}", add(key(f"key-{n}"))),
    )
)


@pytest.fixture(params=SEEDS)
def keeper(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A safe host with key persistence."""
    rig = Rig(request.param)
    rig.generations = {}
    rig.up(A)
    rig.make_safe()
    assert rig.esxcli("system security keypersistence enable").exit_code == 0
    yield rig
    rig.close()


def test_what_a_host_answered_survives_a_loss_of_power_behind_the_answer(keeper: Rig) -> None:
    rig = keeper
    machine, session = rig.agent.machine(A), rig.controller.sessions[A]
    peer = Peer(VCENTER, rig.controller.node.boot)
    answered: list[str] = []

    async def burst_and_cut(after: int) -> None:
        enough = asyncio.Event()

        def respond(name: str) -> Any:
            def put(outcome: object) -> None:
                assert not isinstance(outcome, ProductError), outcome
                answered.append(name)
                if len(answered) >= after:
                    enough.set()

            return put

        for name, message in BURST:
            deadline = rig.loop.time() + 60.0
            stamped = session.stamp(message)
            machine.runner.accept(IncomingRequest(stamped, peer, deadline, "", respond(name)))
            await asyncio.sleep(0.0002)
        await enough.wait()
        await machine.power_off(WayDown.POWER_LOSS)

    for after in (1, 3):
        answered.clear()
        rig.run(burst_and_cut(after))
        acknowledged = list(answered)
        rig.power_on(A)
        vms = {str(vm.vm) for vm in rig.summary().vms}
        asked = tuple(key(name) for name, _ in BURST if name.startswith("key"))
        listed = rig.console(GetCryptoKeyStatus(keys=asked)).keys
        stored = {status.key.key_id for status in listed if status.stored}
        assert set(acknowledged) <= vms | stored, "acknowledged, and gone"
        rig.connect(A)
        session = rig.controller.sessions[A]
