"""What vCenter brings to hosts is lost on its way, and nothing else is."""

from __future__ import annotations

from typing import ClassVar, Final

from chaos.faults.base import Notes
from chaos.faults.links import Direction, LinkCutFault
from chaos.lab import LabUnderTest
from chaos.matrix.scene import StagingScene
from protocol.messages.agent import CutRule, LinkRule
from protocol.messages.host import (
    AddKeys,
    ChangeHostKey,
    CryptoManagerHostEnable,
    SetProviders,
)
from protocol.terms import NodeName

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
