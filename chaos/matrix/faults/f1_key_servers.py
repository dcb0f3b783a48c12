"""F1: no key server of the provider can be reached; that of another provider can."""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.faults.links import LinkCutFault
from chaos.faults.power import SitePowerLoss
from chaos.lab import REFUSALS
from chaos.matrix.faults.base import DrivenFault, StagedFault
from chaos.matrix.scene import BESIDE, SERVERS_OF_P, StagingScene
from chaos.matrix.terms import Variant
from chaos.oracle.terms import TableFault
from protocol.messages.vcenter import GenerateKey
from protocol.terms import NodeName
from services.runtime.each import for_each

GENERATE_S: Final = 15.0


class KeyServersAway(StagedFault):
    """The links between vCenter and each key server of P are cut, both ways; or these are off.
    Hosts with an encrypted vSAN, which ask these servers too, are cut off as vCenter is.

    A native P has none: those of the provider beside it are away, which P must not notice. Those
    of a trusted P are cut off from Key Provider Services, which are their clients.
    """

    fault: ClassVar[TableFault] = TableFault.F1
    variants: ClassVar[tuple[Variant, ...]] = (Variant.USUAL, Variant.SERVERS_OFF)

    def __init__(self, scene: StagingScene) -> None:
        super().__init__(scene)
        self._off = scene.variant is Variant.SERVERS_OFF
        self._clients = self.clients(scene)
        cut = LinkCutFault(id="F1", a=self._clients, b=SERVERS_OF_P)
        off = SitePowerLoss(id="F1", nodes=SERVERS_OF_P, sites=("P",))
        self._cut = DrivenFault(scene, off if self._off else cut)

    @staticmethod
    def clients(scene: StagingScene) -> tuple[NodeName, ...]:
        """Whose links are cut."""
        return scene.clients_of_servers

    async def begin(self) -> None:
        await self._cut.survey()
        await self._cut.begin()
        self.write(
            "fault", self.scene.vcenter, "off" if self._off else "cut", servers=list(SERVERS_OF_P)
        )

    async def bites(self) -> str:
        """Nothing comes over the cut links, and a neighbour still reaches each server; or each is
        off."""
        looks = [self._cut.bites, *[self._makes_keys] * self.scene.native]
        found = await for_each(looks, lambda look: look(), name="bites")
        if wrong := next(filter(None, found), ""):
            return wrong
        if self._off:
            return ""
        for server in SERVERS_OF_P:
            neighbour = self._neighbour(server)
            if not (await self.scene.lab.canary(neighbour, server)).answered:
                return f"{server} does not answer {neighbour} either"
        return ""

    def _neighbour(self, server: NodeName) -> NodeName:
        """A node whose way to the server is not cut: a host, where none of them asks for keys."""
        apart = {server, *self._clients}
        others = (*self.scene.hosts(), *self.scene.servers)
        return next(node for node in others if node not in apart)

    async def _makes_keys(self) -> str:
        """Empty when the standard provider beside a native P makes no key."""
        message = GenerateKey(operation_id="matrix/F1", provider=BESIDE)
        try:
            made = await self.scene.lab.ask(self.scene.vcenter, message, within_s=GENERATE_S)
        except REFUSALS:
            return ""  # vCenter is still asking them
        return f"{BESIDE} has made a key" if made.success else ""

    async def end(self) -> None:
        await self._cut.heal()
        self.write(
            "heal", self.scene.vcenter, "on" if self._off else "open", servers=list(SERVERS_OF_P)
        )

    async def verify_heal(self) -> str:
        return await self._cut.verify_heal()
