"""F0 to F4: nothing is wrong, or a part of the lab is away.

F1: no key server of the provider can be reached, that of another provider can. F2: vCenter is
down. F3: every service of the Trust Authority is down. F4: everything outside of the hosts is down
at once. Also what vCenter sends to hosts, lost on its way.
"""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.faults.base import Notes
from chaos.faults.links import Direction, LinkCutFault
from chaos.faults.nodes import SitePowerLoss, VcenterDown
from chaos.lab import REFUSALS, LabUnderTest
from chaos.matrix.faults.base import DrivenFault, ReturningVcenter, StagedFault
from chaos.matrix.scene import BESIDE, SERVERS_OF_P, TA_VCENTER, StagingScene
from chaos.matrix.terms import Variant
from chaos.oracle.terms import TableFault
from protocol.messages.agent import CutRule, LinkRule
from protocol.messages.host.crypto import (
    AddKeys,
    ChangeHostKey,
    CryptoManagerHostEnable,
    SetProviders,
)
from protocol.messages.vcenter.providers import GenerateKey
from protocol.terms import NodeName
from services.runtime.each import for_each

_KINDS: Final = (AddKeys, ChangeHostKey, CryptoManagerHostEnable, SetProviders)
PUSHES: Final = tuple(kind.__name__ for kind in _KINDS)


class PushesCut(LinkCutFault, frozen=True, kw_only=True):
    """Providers and keys that vCenter would bring never leave it; it sees hosts and commands them
    as ever. Where hosts derive keys, this is its way to the keys."""

    kind: ClassVar[str] = "matrix.pushes_cut"

    @classmethod
    def of_all(cls, scene: StagingScene) -> PushesCut:
        """On the links from vCenter to every host that there is now."""
        hosts = scene.hosts()
        return cls(id="pushes", a=(scene.vcenter,), b=hosts, dir=Direction.TO)

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return CutRule(id=self.id, src=src, dst=dst, until=until, requests=PUSHES)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """The rule is in force at its sender, which is up."""
        in_force = await self.count_struck(lab, self.links())
        missing = [dst for src, dst in self.links() if (src, dst) not in in_force]
        return f"what goes to {missing[0]} is not cut" if missing else ""


class NothingWrong(StagedFault):
    """The undisturbed lab."""

    fault: ClassVar[TableFault] = TableFault.F0

    async def bites(self) -> str:
        """Everybody answers."""
        return await self.scene.find_unreachable()


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
        self._off = scene.variant is Variant.SERVERS_OFF
        self._clients = self.clients(scene)
        cut = LinkCutFault(id="F1", a=self._clients, b=SERVERS_OF_P)
        off = SitePowerLoss(id="F1", nodes=SERVERS_OF_P, sites=("P",))
        super().__init__(scene, off if self._off else cut)

    @staticmethod
    def clients(scene: StagingScene) -> tuple[NodeName, ...]:
        """Whose links are cut."""
        return scene.clients_of_servers

    async def begin(self) -> None:
        await super().begin()
        self.write(
            "fault", self.scene.vcenter, "off" if self._off else "cut", servers=list(SERVERS_OF_P)
        )

    async def bites(self) -> str:
        """Nothing comes over the cut links, and a neighbour still reaches each server; or each is
        off."""
        looks = [super().bites, *[self._makes_keys] * self.scene.native]
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
        await super().end()
        self.write(
            "heal", self.scene.vcenter, "on" if self._off else "open", servers=list(SERVERS_OF_P)
        )


class VcenterAway(ReturningVcenter):
    """vCenter's process is stopped hard, or all of its links are cut; key servers and hosts go on.

    Its end opens the links to hosts before those to key servers, as it starts vCenter before.
    """

    fault: ClassVar[TableFault] = TableFault.F2
    variants: ClassVar[tuple[Variant, ...]] = (Variant.USUAL, Variant.LINKS_CUT)

    def __init__(self, scene: StagingScene) -> None:
        self._cut = scene.variant is Variant.LINKS_CUT
        alone = LinkCutFault(id="F2", a=(scene.vcenter,), b=scene.hosts())
        down = VcenterDown(id="F2", nodes=(scene.vcenter,), clients=scene.hosts()[:2])
        servers = LinkCutFault(id="F2-servers", a=(scene.vcenter,), b=scene.servers)
        super().__init__(scene, alone if self._cut else down)
        self._servers = DrivenFault(scene, servers)
        self._shut = DrivenFault(scene, PushesCut.of_all(scene)) if scene.native else self._servers

    async def begin(self) -> None:
        await super().begin()
        if self._cut:
            await self._servers.begin()
        self.scene.vcenter_cut = self._cut
        self.write("fault", self.scene.vcenter, "cut" if self._cut else "down")

    async def bites(self) -> str:
        return await super().bites() or (await self._servers.bites() if self._cut else "")

    async def return_shut(self) -> None:
        if self._shut is not self._servers or not self._cut:
            await self._shut.begin()
        await self._back()
        self.write("heal", self.scene.vcenter, "up, with its way to the keys shut")

    async def open(self) -> None:
        await self._shut.heal()
        if self._shut is not self._servers and self._cut:
            await self._servers.heal()
        self.write("heal", self.scene.vcenter, "open")

    async def _back(self) -> None:
        await super().end()
        self.scene.vcenter_cut = False

    async def end(self) -> None:
        await self._back()
        if self._cut:
            await self._servers.heal()
        self.write("heal", self.scene.vcenter, "up")

    async def verify_heal(self) -> str:
        both = await super().verify_heal() or await self._servers.verify_heal()
        return both or await self._shut.verify_heal()


class TrustAuthorityAway(StagedFault):
    """The Attestation Service and the Key Provider Service of each of its hosts lose their power;
    both vCenters and the key servers go on."""

    fault: ClassVar[TableFault] = TableFault.F3

    def __init__(self, scene: StagingScene) -> None:
        self._services = (*scene.attesters, *scene.key_services)
        off = SitePowerLoss(id="F3", nodes=self._services, sites=("trust-authority",))
        super().__init__(scene, off)

    async def begin(self) -> None:
        await super().begin()
        self.write("fault", self.scene.vcenter, "down", services=list(self._services))

    async def bites(self) -> str:
        """They are off, and vCenter still reaches each key server."""
        if wrong := await super().bites():
            return wrong
        for server in self.scene.servers:
            if not (await self.scene.lab.canary(self.scene.vcenter, server)).answered:
                return f"{server} does not answer either"
        return ""

    async def end(self) -> None:
        await super().end()
        self.write("heal", self.scene.vcenter, "up", services=list(self._services))


class OutsideAway(ReturningVcenter):
    """vCenter, every key server, and what there is of a Trust Authority lose their power; hosts,
    datastores and TPMs go on."""

    fault: ClassVar[TableFault] = TableFault.F4

    def __init__(self, scene: StagingScene) -> None:
        services = (*scene.attesters, *scene.key_services)
        self._servers = (*scene.servers, *services, *[TA_VCENTER] * scene.trusted)
        self._shut = DrivenFault(scene, PushesCut.of_all(scene)) if scene.native else None
        nodes = (*self._servers, scene.vcenter)
        super().__init__(scene, SitePowerLoss(id="F4", nodes=nodes, sites=("outside",)))

    async def begin(self) -> None:
        await super().begin()
        self.write("fault", self.scene.vcenter, "down", with_it=list(self._servers))

    async def bites(self) -> str:
        """They are off, and hosts still reach each other, where there are several."""
        if wrong := await super().bites():
            return wrong
        one, *others = self.scene.hosts()[:2]
        for other in others:
            if not (await self.scene.lab.canary(one, other)).answered:
                return f"{other} does not answer {one}"
        return ""

    async def return_shut(self) -> None:
        if self._shut is not None:
            await self._shut.begin()
        await self._on((self.scene.vcenter,))

    async def open(self) -> None:
        await self._on(self._servers)
        if self._shut is not None:
            await self._shut.heal()

    async def end(self) -> None:
        """In the order that standard providers need: key servers, then vCenter."""
        await self._on(self._servers)
        await self._on((self.scene.vcenter,))

    async def _on(self, nodes: tuple[NodeName, ...]) -> None:
        for node in nodes:
            await self.scene.lab.power_on(node)
            self.write("heal", node, "up")

    async def verify_heal(self) -> str:
        shut = "" if self._shut is None else await self._shut.verify_heal()
        return shut or await super().verify_heal()
