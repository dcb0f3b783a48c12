"""``site.power_loss``: every node of the sites loses power; they return within ``stagger``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from chaos.draws import Draws
from chaos.faults.base import Fault, Params, Targets, names
from chaos.faults.power import PowerFault
from chaos.lab import Directory
from chaos.units import Seconds, format_s
from protocol.terms import NodeName


class SiteParams(Params):
    """Which sites (``site: edge``, or a list), and over how long the nodes come back."""

    site: str | list[str] = Field(min_length=1)
    stagger: Seconds = 0.0


class SitePowerLoss(PowerFault, frozen=True, kw_only=True):
    """All nodes of the sites lose their power.

    ``stagger`` lab seconds lie between the first and the last power-on: a boot storm.
    """

    kind: ClassVar[str] = "site.power_loss"
    example: ClassVar[str] = "site: main, stagger: 30s"
    params: ClassVar[type[Params]] = SiteParams
    way: ClassVar[str] = "power_loss"
    verb: ClassVar[str] = "power loss of site"
    sites: tuple[str, ...]
    stagger: float = 0.0

    @classmethod
    def of(cls, id: str, params: SiteParams, targets: Targets) -> Fault:
        sites = (params.site,) if isinstance(params.site, str) else tuple(params.site)
        sites = tuple(site.removeprefix("site:") for site in sites)
        nodes = targets.nodes([f"site:{site}" for site in sites])
        return cls(id=id, nodes=nodes, sites=sites, stagger=params.stagger)

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        sites = list(dict.fromkeys(entry.site for entry in directory.nodes))
        if not sites:
            return None
        stagger_s = round(draws.unit() * 20, 1)
        return {"site": list(draws.pick(sites, 1)), "stagger": format_s(stagger_s)}

    def file_fields(self) -> dict[str, Any]:
        return {"site": list(self.sites), "stagger": format_s(self.stagger)}

    def summary(self) -> str:
        return f"power loss of site {', '.join(self.sites)}: {names(self.nodes)}"

    def stagger_of(self, node: NodeName) -> float:
        last = len(self.nodes) - 1
        return self.stagger * self.nodes.index(node) / last if last else 0.0
