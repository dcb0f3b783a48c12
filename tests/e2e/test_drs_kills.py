"""vCenter, or a host, falls at every call of its storage and every message while DRS moves a VM
that is powered on: one host lists it afterwards, by its own word and by vCenter's, and it starts.
"""

from __future__ import annotations

import asyncio

import pytest

from chaos.draws import Draws
from chaos.observe.guests import Guests
from protocol.errors import ProductError
from protocol.messages.vcenter.inventory import EnterMaintenanceMode, ReconfigureComputeResource
from protocol.messages.vcenter.vms import CreateVm, PowerOnVm
from protocol.terms import ClusterName, DrsBehavior, NodeName, PowerState, VmName
from services.esxi.service import EsxiService
from services.vcenter.service import VcenterService
from services.vcenter.tables import VmRow
from tests.chaos.worlds import World
from tests.e2e.falls import Falls

pytestmark = pytest.mark.sim

A, B, VCENTER = NodeName("esxi-001"), NodeName("esxi-002"), NodeName("vcenter")
VM = VmName("one")
LIMIT = 60  # moments of one task


class Play:
    """One lab: an encrypted VM that is off, on a host in maintenance mode."""

    def __init__(self) -> None:
        knobs = {"remediation_interval_s": 60}
        self.world = World(seed=3, hosts=2, vms=0, key_persistence=True, knobs=knobs)
        self.lab = self.world.lab
        self.guests = Guests(self.lab, Draws(3, "guests"))

    async def ready(self) -> None:
        lab, cluster = self.lab, ClusterName("cluster-a")
        create = CreateVm(operation_id="make", vm=VM, cluster=cluster, host=A, encrypted=True)
        await lab.ask(VCENTER, create, within_s=60)
        await lab.ask(VCENTER, EnterMaintenanceMode(host=A))
        placed = ReconfigureComputeResource(cluster=cluster, drs=DrsBehavior.PARTIALLY_AUTOMATED)
        await lab.ask(VCENTER, placed)
        await lab.sleep(5)

    async def power_on(self) -> ProductError | None:
        try:
            await self.lab.ask(VCENTER, PowerOnVm(vm=VM), within_s=60)
        except ProductError as error:
            return error
        return None

    def listing(self) -> list[NodeName]:
        """The hosts that have it registered, by what they keep."""
        found = []
        for host in (A, B):
            service = self.lab.agent.machine(host).runner.service
            assert isinstance(service, EsxiService)
            assert (VM in service.host.vms) == (VM in service.host.archive.now.vms)
            found += [host] if VM in service.host.vms else []
        return found

    @property
    def row(self) -> VmRow:
        service = self.lab.agent.machine(VCENTER).runner.service
        assert isinstance(service, VcenterService)
        return service.vcenter.inventory.vms[VM]


async def _story(play: Play, node: NodeName, way: str, nth: int) -> Falls:
    lab = play.lab
    await play.ready()
    falls = Falls(lab, node, way, nth, array=node == B)
    with falls.watching():
        asked = asyncio.ensure_future(play.power_on())
        for _ in range(700):
            if falls.happened or asked.done():
                break
            await lab.sleep(0.1)
    if falls.happened:
        await lab.sleep(1)
        await lab.power_on(node)
    first = await asked
    await lab.sleep(150)
    assert play.listing() == [play.row.host] and not play.row.moving, (play.listing(), play.row)
    assert first is not None or (play.row.host, play.row.power) == (B, PowerState.ON)
    assert await play.power_on() is None
    assert (play.listing(), play.row.host, play.row.power) == ([B], B, PowerState.ON)
    await play.guests.plant(VM, B)
    assert (await play.guests.challenge(VM, B)).right
    return falls


@pytest.mark.slow
@pytest.mark.parametrize("way", ["crash", pytest.param("power_loss", marks=pytest.mark.sweep)])
@pytest.mark.parametrize("node", [VCENTER, A, B])
def test_who_falls_at_any_moment_leaves_it_registered_once(node: NodeName, way: str) -> None:
    moments = 0
    for nth in range(1, LIMIT):
        play = Play()
        try:
            falls = play.world.run(_story(play, node, way, nth))
        except BaseException as error:
            error.add_note(f"{node} fell at moment {nth}")
            raise
        finally:
            play.world.close()
        if not falls.happened:
            break
        moments = nth
    assert (2 if node == A else 10) < moments < LIMIT - 1
