"""Base of the faults that end a node's life and give it back at heal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Params, Targets, all_of, names
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from chaos.units import Seconds, format_s
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName, Role


class NodesParams(Params):
    """Which nodes: ``on: esxi-001``, or any other selector."""

    on: str | list[str] | dict[str, str | int]


class NodesFault(Fault, frozen=True, kw_only=True):
    """Base of the faults that act on nodes as they are."""

    params: ClassVar[type[Params]] = NodesParams
    role: ClassVar[Role | None] = None
    nodes: tuple[NodeName, ...]

    @classmethod
    def select_targets(cls, params: NodesParams, targets: Targets) -> dict[str, Any]:
        """The field ``nodes``; KS-CHAOS-010 when none of the selected has the right role."""
        nodes = targets.nodes(params.on, cls.role)
        if not nodes:
            raise ChaosError("KS-CHAOS-010", f"{params.on} has no node of role {cls.role}")
        return {"nodes": nodes}

    def file_fields(self) -> dict[str, Any]:
        return {"on": list(map(str, self.nodes))}

    def touches(self) -> tuple[NodeName, ...]:
        return self.nodes


def some_of(
    draws: Draws, directory: Directory, roles: Sequence[Role], shares: Sequence[float] = ()
) -> dict[str, Any] | None:
    """``on`` for one node of the ``roles``; of a tenth of them each, a share of ``shares``
    instead. None when there is no such node."""
    there = [str(entry.node) for entry in directory.nodes if entry.role in roles]
    if not there:
        return None
    place = int(draws.unit() * 10)
    share = shares[place] if place < len(shares) else 0.0
    return {"on": list(draws.pick(there, max(1, round(share * len(there)))))}


class PowerFault(NodesFault, frozen=True, kw_only=True):
    """Nodes go off by ``way`` and are powered on at its end; what was off before stays off."""

    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,))
    holds_power: ClassVar[bool] = True
    way: ClassVar[str]
    verb: ClassVar[str]

    def summary(self) -> str:
        return f"{self.verb} {names(self.nodes)}"

    async def survey(self, lab: LabUnderTest) -> Notes:
        return await boots_of(lab, self.nodes)

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(was_on(notes, self.nodes), lambda node: lab.power_off(node, self.way))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each node that was on is off, and its last life ended this way; or it is on again."""
        seen = await lab.statuses(counters=False)
        for node in was_on(notes, self.nodes):
            status = seen.get(node)
            if status is None:
                return f"{node} cannot be asked"
            if status.boot > notes["boots"][node]:
                continue
            if status.state is not NodeRunState.OFF or status.ended != self.way:
                ended = f", last ended by {status.ended}" if status.ended else ""
                return f"{node} is {status.state.value}{ended}"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        async def on(node: NodeName) -> None:
            await lab.sleep(self.stagger_of(node))
            await lab.power_on(node)

        await all_of(was_on(notes, self.nodes), on)

    def stagger_of(self, node: NodeName) -> float:
        """Lab seconds this node waits before it is powered on."""
        return 0.0

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        return await is_back(lab, was_on(notes, self.nodes), notes)


async def boots_of(lab: LabUnderTest, nodes: tuple[NodeName, ...]) -> Notes:
    """``boots``: the boot counter of each node that is on; KS-CHAOS-106 when none is
    (a paused one cannot be asked)."""
    seen = await lab.statuses(counters=False)
    boots = {
        str(node): seen[node].boot
        for node in nodes
        if node in seen and seen[node].state is not NodeRunState.OFF
    }
    if not boots:
        raise ChaosError("KS-CHAOS-106", f"{names(nodes)}: off already, or not to be asked")
    return {"boots": boots}


def was_on(notes: Notes, nodes: tuple[NodeName, ...]) -> tuple[NodeName, ...]:
    """The nodes that were on; all when the survey did not come to its end."""
    boots = notes.get("boots")
    return nodes if boots is None else tuple(node for node in nodes if node in boots)


async def is_back(lab: LabUnderTest, nodes: tuple[NodeName, ...], notes: Notes) -> str:
    """Each node has booted again. A host that stops at its screen has: why it stops there is
    another fault's doing, or the product's."""
    boots, seen = notes.get("boots", {}), await lab.statuses(counters=False)
    for node in nodes:
        status = seen.get(node)
        if status is None:
            return f"{node} cannot be asked"
        if status.state not in (NodeRunState.RUNNING, NodeRunState.HALTED):
            return f"{node} is {status.state.value}"
        if status.boot <= boots.get(node, 0):
            return f"{node} has not booted since"
    return ""


async def restart(lab: LabUnderTest, node: NodeName, options: dict[str, str] | None = None) -> None:
    """Off (orderly when it runs, else by its power button) and on; raises ``InvalidState``
    when it then does not run."""
    status = await lab.status(node)
    if status.state is not NodeRunState.OFF:
        orderly = status.state is NodeRunState.RUNNING
        await lab.power_off(node, "stop" if orderly else "power_loss")
    after = await lab.power_on(node, options)
    if after.state is not NodeRunState.RUNNING:
        raise InvalidState(f"{node} is {after.state.value}: {after.screen or 'no screen'}")


# Host reboot ----------------------------------------------------------------------------------
#
# ``host.reboot``: an orderly stop, and the boot at its end.


class HostRebootFault(PowerFault, frozen=True, kw_only=True):
    """Hosts reboot in order: the archive is saved, disks are synced, the TPM gets TPM2_Shutdown."""

    kind: ClassVar[str] = "host.reboot"
    example: ClassVar[str] = "on: esxi-001"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,), failure_is_open=True)
    way: ClassVar[str] = "stop"
    verb: ClassVar[str] = "orderly stop of"
    lasts_s: ClassVar[float | None] = 0.0

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,))


# Host power loss ------------------------------------------------------------------------------
#
# ``host.power_loss``: the power goes; what was not synced is gone, PCRs reset.


class HostPowerLossFault(PowerFault, frozen=True, kw_only=True):
    """Hosts lose power: no TPM2_Shutdown, and data that was not synced is lost."""

    kind: ClassVar[str] = "host.power_loss"
    example: ClassVar[str] = "on: role:esxi"
    way: ClassVar[str] = "power_loss"
    verb: ClassVar[str] = "power loss of"

    @classmethod
    def of(cls, id: str, params: NodesParams, targets: Targets) -> Fault:
        return cls(id=id, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return some_of(draws, directory, (Role.ESXI,), (1.0, 1.0, 0.5))


# Site power loss ------------------------------------------------------------------------------
#
# ``site.power_loss``: every node of the sites loses power; they return within ``stagger``.


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
