"""A host's mode that its own administrator turns off, and a task of vCenter that does not know.

vCenter's view of a host is old by nature. However the two fall together, no key is made for a host
that had said before that it cannot use it, and the task never ends half done.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from unittest.mock import ANY

import pytest

from chaos.observe.look import all_events, all_hosts, all_vms
from protocol.errors import InvalidState, ProductError, ResourceInUse
from protocol.events import EventTypeId
from protocol.messages.agent import DelayRule
from protocol.messages.host.crypto import CryptoManagerHostDisable
from protocol.messages.host.session import QueryHost
from protocol.messages.kms.keys import Locate
from protocol.messages.vcenter.vms import CreateVm
from protocol.terms import HostCryptoState, NodeName, VmName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
VCENTER, KMS = NodeName("vcenter"), NodeName("kms")
OTHER, HOST = NodeName("esxi-001"), NodeName("esxi-002")
NEW = VmName("new")
PENDING = HostCryptoState.PENDING_INCAPABLE


@dataclass
class Ending:
    """How it ended. ``keys``: made at the key server meanwhile."""

    failure: ProductError | None
    keys: int
    mode: HostCryptoState
    listed: bool
    on_host: bool
    told: bool


async def fall_together(world: World, before_s: float, slow_s: float) -> Ending:
    """The administrator disables ``HOST``; ``before_s`` later (earlier if it is negative) the task.

    Answers of the key server take ``slow_s`` lab seconds.
    """
    lab = world.lab
    cluster = (await all_hosts(lab, VCENTER))[0].cluster
    keys = (await lab.ask(KMS, Locate())).total
    told = [e.sequence for e in await all_events(lab, VCENTER)][-1]
    await lab.put_rules([DelayRule(id="slow", src=KMS, dst=VCENTER, base_s=slow_s)])

    async def disable() -> None:
        await lab.sleep(max(0.0, -before_s))
        try:
            await lab.ask(HOST, CryptoManagerHostDisable())
        except ProductError as error:
            assert isinstance(error, ResourceInUse), "the VM came first: it is there (HEM-03)"

    async def create() -> None:
        await lab.sleep(max(0.0, before_s))
        await lab.ask(
            VCENTER,
            CreateVm(operation_id="c", vm=NEW, cluster=cluster, host=HOST, encrypted=True),
            within_s=60,
        )

    _, failure = await asyncio.gather(disable(), create(), return_exceptions=True)
    assert failure is None or isinstance(failure, ProductError), failure
    await lab.drop_rules("slow")
    own = (await lab.ask(HOST, QueryHost())).summary
    later = await all_events(lab, VCENTER, after=told)
    return Ending(
        failure=failure,
        keys=(await lab.ask(KMS, Locate())).total - keys,
        mode=own.crypto_state,
        listed=any(vm.vm == NEW for vm in await all_vms(lab, VCENTER)),
        on_host=any(vm.vm == NEW for vm in own.vms),
        told=any(e.event is EventTypeId.HOST_CRYPTO_DISABLED for e in later),
    )


def ended(seed: int, before_s: float, slow_s: float = 0.5) -> Ending:
    world = World(seed=seed, hosts=2, vms=1)
    try:
        world.run(world.lab.sleep(30))
        return world.run(fall_together(world, before_s, slow_s))
    finally:
        world.close()


@pytest.mark.parametrize("seed", range(1, 9))
@pytest.mark.parametrize("before_s", [0.2, 1.0])
def test_no_key_is_made_for_a_host_that_was_disabled_before_it_was_asked(
    seed: int, before_s: float
) -> None:
    assert ended(seed, before_s) == Ending(ANY, 0, PENDING, False, False, True)


@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("before_s", [0.0, -0.01, -0.05, -0.2, -0.5, -0.55, -0.6, -1.0])
def test_whenever_the_two_fall_together_nothing_is_half_done(seed: int, before_s: float) -> None:
    end = ended(seed, before_s)
    if end.failure is None:
        assert end == Ending(None, 1, HostCryptoState.SAFE, True, True, False)
    else:
        assert isinstance(end.failure, InvalidState), end.failure
        assert (end.mode, end.listed, end.on_host) == (PENDING, False, False)
        assert end.told
