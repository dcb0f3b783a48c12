"""Rows outside of the grid about a vCenter that does not reach one host, and reaches all others."""

from __future__ import annotations

from chaos.faults.link_cut import LinkCutFault
from chaos.matrix import clock
from chaos.matrix.beside import Beside
from chaos.matrix.faults import StagedFault
from chaos.matrix.faults.base import DrivenFault
from chaos.matrix.faults.f2_vcenter import VcenterAway
from chaos.matrix.scene import StagingScene
from chaos.matrix.setup import running_hosts
from chaos.matrix.twist import Twist
from chaos.observe.listing import all_hosts
from protocol.terms import HostConnectionState, NodeName

_CONNECTED = HostConnectionState.CONNECTED


class HostApart(Twist):
    """The hosts that reboot are cut off from vCenter, which goes on and reaches its key servers: to
    them it is as if it were down. When it reaches them again, its way to the keys is shut first."""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        return _FromHosts(scene)


class _FromHosts(VcenterAway):
    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self._down = DrivenFault(scene, LinkCutFault(id="X13", a=(scene.vcenter,), b=scene.hosts()))

    async def begin(self) -> None:
        await super().begin()
        self.scene.vcenter_cut = True  # what it shows of these hosts is of before

    async def return_shut(self) -> None:
        """A vCenter that goes on comes back to a host after a pause of up to three heartbeats: what
        it has to do after its first contact is looked for from then on."""
        await super().return_shut()
        until = self.scene.lab.monotonic() + clock.SETTLED_S
        while not await self._in_contact() and self.scene.lab.monotonic() < until:
            await self.scene.lab.sleep(clock.AGAIN_S)

    async def _in_contact(self) -> bool:
        shown = {one.host: one for one in await all_hosts(self.scene.lab, self.scene.vcenter)}
        up = await running_hosts(self.scene)
        return all(shown[host].connection is _CONNECTED for host in up if host in shown)


class OthersGoOn(Twist):
    """Each cluster has one more host, that vCenter does not reach: the others miss nothing."""

    spare = 1

    def fault(self, scene: StagingScene) -> StagedFault | None:
        return Beside(
            scene, DrivenFault(scene, LinkCutFault(id="X13", a=(scene.vcenter,), b=_spare(scene)))
        )

    async def find_deviation(self, scene: StagingScene) -> str:
        await scene.until(clock.SETTLED_S)
        listed = {one.host: one.connection for one in await all_hosts(scene.lab, scene.vcenter)}
        heard = [host for host in _spare(scene) if listed[host] is _CONNECTED]
        return f"vCenter shows {', '.join(heard)} as connected" if heard else ""


def _spare(scene: StagingScene) -> tuple[NodeName, ...]:
    """Hosts that play nobody."""
    cast = {host for of in scene.casts.values() for host in of.values()}
    return tuple(host for host in scene.hosts() if host not in cast)
