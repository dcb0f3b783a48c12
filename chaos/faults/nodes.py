"""Faults of nodes.

Power: a node's life ends and is given back at heal (hosts, sites). Processes: killed or paused, a
vCenter that is off. Clocks: ``clock.skew``, wall clocks that go wrong, ahead or behind.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field, model_validator

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import (
    Fault,
    Notes,
    Params,
    Targets,
    all_of,
    names,
    own_values,
    running,
    status_of,
)
from chaos.faults.links import HEAL_WITHIN_S, Edge, kept_away, on_edge, ping
from chaos.fields import Seconds, format_s
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.errors import InvalidState
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName, Role


class NodesParams(Params):
    """Which nodes: ``on: esxi-001``, or any other selector."""

    on: str | list[str] | dict[str, str | int]


class NodesFault(Fault, frozen=True, kw_only=True):
    """Base of the faults that act on nodes as they are: those of ``role``, or of any.

    ``drawn_roles``: a random schedule draws nodes of these (``some_of``, with ``drawn_shares``).
    """

    params: ClassVar[type[Params]] = NodesParams
    role: ClassVar[Role | None] = None
    drawn_roles: ClassVar[tuple[Role, ...]] = ()
    drawn_shares: ClassVar[tuple[float, ...]] = ()
    nodes: tuple[NodeName, ...]

    @classmethod
    def of(cls, id: str, params: Any, targets: Targets) -> Fault:
        return cls(id=id, **own_values(cls, params), **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        if not cls.drawn_roles:
            return None
        return some_of(draws, directory, cls.drawn_roles, cls.drawn_shares)

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
    drawn_roles: ClassVar[tuple[Role, ...]] = (Role.ESXI,)
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,), failure_is_open=True)
    way: ClassVar[str] = "stop"
    verb: ClassVar[str] = "orderly stop of"
    lasts_s: ClassVar[float | None] = 0.0


# Host power loss ------------------------------------------------------------------------------
#
# ``host.power_loss``: the power goes; what was not synced is gone, PCRs reset.


class HostPowerLossFault(PowerFault, frozen=True, kw_only=True):
    """Hosts lose power: no TPM2_Shutdown, and data that was not synced is lost."""

    kind: ClassVar[str] = "host.power_loss"
    example: ClassVar[str] = "on: role:esxi"
    drawn_roles: ClassVar[tuple[Role, ...]] = (Role.ESXI,)
    drawn_shares: ClassVar[tuple[float, ...]] = (1.0, 1.0, 0.5)
    way: ClassVar[str] = "power_loss"
    verb: ClassVar[str] = "power loss of"


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


# Proc kill ------------------------------------------------------------------------------------
#
# ``proc.kill``: the process of a node is killed: a kernel crash of every node in it.

RESPAWN_WITHIN_S = 120.0
LOOK_EVERY_S = 0.5


class ProcKill(NodesFault, frozen=True, kw_only=True):
    """The processes of nodes are killed; the written image survives.

    The supervisor respawns the process; its nodes stay off until the fault ends. Nodes packed into
    the same process go down and come back with it.
    """

    kind: ClassVar[str] = "proc.kill"
    example: ClassVar[str] = "on: kms"
    drawn_roles: ClassVar[tuple[Role, ...]] = tuple(Role)
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.POWER,), undone_with=(), spreads=True)
    holds_power: ClassVar[bool] = True

    def summary(self) -> str:
        return f"kill the process of {names(self.nodes)}"

    async def survey(self, lab: LabUnderTest) -> Notes:
        notes = await boots_of(lab, self.nodes)
        every = tuple(entry.node for entry in lab.directory().nodes)
        return notes | {"all": (await boots_of(lab, every))["boots"]}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(was_on(notes, self.nodes), lab.kill)
        notes["fell"] = await self._fell(lab, notes)

    async def _fell(self, lab: LabUnderTest, notes: Notes) -> list[str]:
        """The other nodes that do not run any more: of those that go down later, another fault or
        they themselves are the cause."""
        seen = await lab.statuses(counters=False)
        alive = {
            node for node, status in seen.items() if status.state is not NodeRunState.OFF
        } | set(self.nodes)
        return [name for name in notes.get("all", {}) if name not in alive]

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        for node in was_on(notes, self.nodes):
            status = await status_of(lab, node)
            if status is None or status.boot > notes["boots"][node]:
                continue
            if status.state is not NodeRunState.OFF:
                return f"{node} is {status.state.value} in the same boot"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        async def back(node: NodeName) -> None:
            waited_s = 0.0
            while not await lab.respawned(node):
                if waited_s >= RESPAWN_WITHIN_S:
                    raise InvalidState(f"the process of {node} does not come back")
                await lab.sleep(LOOK_EVERY_S)
                waited_s += LOOK_EVERY_S
            await lab.power_on(node)

        await all_of(was_on(notes, self.nodes), back)
        await all_of(await self._find_dragged_nodes(lab, notes), back)

    async def _find_dragged_nodes(self, lab: LabUnderTest, notes: Notes) -> tuple[NodeName, ...]:
        """Nodes that went down with the process: off in their boot of before, and not by a stop
        or a loss of power (a fresh process may not know how its nodes' last lives ended)."""
        found: list[NodeName] = []
        every: dict[str, int] = notes.get("all", {})
        fell: Collection[str] = notes["fell"] if "fell" in notes else every
        for name, boot in every.items():
            if name not in fell and name not in self.nodes:
                continue
            status = await status_of(lab, NodeName(name))
            down = status is not None and status.state is NodeRunState.OFF
            if status is None or not down or status.boot != boot:
                continue
            if status.ended not in ("stop", "power_loss"):
                found.append(NodeName(name))
        return tuple(found)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        dragged = await self._find_dragged_nodes(lab, notes)
        if dragged:
            return f"{names(dragged)} went down with it and is still off"
        return await is_back(lab, was_on(notes, self.nodes), notes)


# Proc pause -----------------------------------------------------------------------------------
#
# ``proc.pause``: a node stands still; it is neither dead nor answering.


class ProcPause(NodesFault, frozen=True, kw_only=True):
    """Nodes stand still: a process of one node by signal (SIGSTOP), one of many in a process by
    itself: it receives and sends nothing, and none of its waits ends."""

    kind: ClassVar[str] = "proc.pause"
    example: ClassVar[str] = "on: vcenter"
    drawn_roles: ClassVar[tuple[Role, ...]] = tuple(Role)
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.STEPS,), undone_with=("nodes",))

    def summary(self) -> str:
        return f"pause {names(self.nodes)}"

    def holds(self) -> tuple[str, ...]:
        """The first of two to end would let the node go on."""
        return tuple(f"process of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        up = [node for node in self.nodes if await running(lab, node)]
        if not up:
            raise ChaosError("KS-CHAOS-106", f"{names(self.nodes)}: not running")
        return {"up": [str(node) for node in up]}

    def _up(self, notes: Notes) -> tuple[NodeName, ...]:
        return tuple(NodeName(node) for node in notes.get("up", self.nodes))

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await all_of(self._up(notes), lab.pause)

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Its process is stopped, and another node's canary to it stays unanswered."""
        nodes = self._up(notes)
        for node in nodes:
            if not await lab.paused(node):
                return f"{node} is not paused"
        edges = await self._list_witness_edges(lab, nodes)
        for (witness, node), result in (await ping(lab, edges, within_s=1.0, count=1)).items():
            if result.answered:
                return f"{node} answers {witness}"
        return ""

    async def _list_witness_edges(
        self, lab: LabUnderTest, nodes: tuple[NodeName, ...]
    ) -> list[Edge]:
        """From the first other node that runs, to each of ``nodes``."""
        others = [entry.node for entry in lab.directory().nodes if entry.node not in nodes]
        witnesses = [node for node in others if await running(lab, node)][:1]
        return [(witness, node) for witness in witnesses for node in nodes]

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await all_of(self._up(notes), lab.resume)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Its process goes on, and those that run answer another node's canary."""
        for node in self._up(notes):
            if await lab.paused(node):
                return f"{node} is still paused"
            if await status_of(lab, node) is None:
                return f"{node} cannot be asked"
        up = tuple([node for node in self._up(notes) if await running(lab, node)])
        edges = [
            e for e in await self._list_witness_edges(lab, up) if not kept_away(on_edge(lab, e))
        ]
        results = await ping(lab, edges, within_s=HEAL_WITHIN_S, count=1)
        for (witness, node), result in results.items():
            if not result.answered and await lab.broker_up():
                return f"{node} does not answer {witness}"
        return ""


# Vcenter down ---------------------------------------------------------------------------------
#
# ``vcenter.down``: vCenter stops hard (F2); at its end it is started again.


class VcenterDownParams(NodesParams):
    """Which vCenter; when it is left out, every one of the lab."""

    on: str | list[str] | dict[str, str | int] = "role:vcenter"


class VcenterDown(PowerFault, frozen=True, kw_only=True):
    """A crash of every vCenter selected; ``clients`` are two others that call it in vain."""

    kind: ClassVar[str] = "vcenter.down"
    example: ClassVar[str] = ""
    inside: ClassVar[tuple[str, ...]] = ("host.power_loss", "host.reboot")
    params: ClassVar[type[Params]] = VcenterDownParams
    role: ClassVar[Role | None] = Role.VCENTER
    way: ClassVar[str] = "crash"
    verb: ClassVar[str] = "crash of"
    clients: tuple[NodeName, ...] = ()

    @classmethod
    def of(cls, id: str, params: VcenterDownParams, targets: Targets) -> Fault:
        clients = targets.of_role(Role.ESXI)[:2]
        return cls(id=id, clients=clients, **cls.select_targets(params, targets))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return {}

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        problem = await super().bites(lab, notes)
        if problem:
            return problem
        askers = [node for node in self.clients if await running(lab, node)]
        edges = [(asker, node) for asker in askers for node in self.nodes]
        for (asker, node), result in (await ping(lab, edges, within_s=1.0, count=1)).items():
            if result.answered:
                return f"{node} answers {asker}"
        return ""


class ClockSkewParams(NodesParams):
    """Which nodes, and how far: one of ``ahead`` and ``behind``."""

    ahead: Seconds = 0.0
    behind: Seconds = 0.0

    @model_validator(mode="after")
    def _one_way(self) -> ClockSkewParams:
        if bool(self.ahead) == bool(self.behind):
            raise ValueError("give one of ahead, behind")
        return self


class ClockSkew(NodesFault, frozen=True, kw_only=True):
    """Wall clocks are wrong, ahead or behind."""

    kind: ClassVar[str] = "clock.skew"
    example: ClassVar[str] = "on: esxi-001, ahead: 10m"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.CLOCK,))
    params: ClassVar[type[Params]] = ClockSkewParams
    skew_s: float

    @classmethod
    def of(cls, id: str, params: ClockSkewParams, targets: Targets) -> Fault:
        return cls(
            id=id, skew_s=params.ahead - params.behind, **cls.select_targets(params, targets)
        )

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        """Of one node, from ten seconds to three hours."""
        there = some_of(draws, directory, tuple(Role))
        by_s = round(10 ** (1 + 3 * draws.unit()), 1)
        way = "ahead" if draws.unit() < 0.5 else "behind"
        return None if there is None else there | {way: format_s(by_s)}

    def file_fields(self) -> dict[str, Any]:
        way = "ahead" if self.skew_s > 0 else "behind"
        return super().file_fields() | {way: format_s(abs(self.skew_s))}

    def summary(self) -> str:
        way = "ahead" if self.skew_s > 0 else "behind"
        return f"clock of {names(self.nodes)} {format_s(abs(self.skew_s))} {way}"

    def holds(self) -> tuple[str, ...]:
        return tuple(f"clock of {node}" for node in self.nodes)

    async def survey(self, lab: LabUnderTest) -> Notes:
        wrong = [node for node in self.nodes if (await lab.status(node)).skew_s]
        if wrong:
            raise ChaosError("KS-CHAOS-106", f"the clock of {names(tuple(wrong))} is wrong already")
        return {}

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await self._set(lab, self.skew_s)

    async def _set(self, lab: LabUnderTest, seconds: float) -> None:
        await all_of(self.nodes, lambda node: lab.skew(node, seconds))

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each clock is so far off as it should be."""
        return await self._off_by(lab, self.skew_s)

    async def _off_by(self, lab: LabUnderTest, seconds: float) -> str:
        for node in self.nodes:
            status = await status_of(lab, node)
            if status is None:
                return f"{node} cannot be asked"
            if status.skew_s != seconds:
                return f"the clock of {node} is off by {status.skew_s:g} s, not {seconds:g} s"
        return ""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await self._set(lab, 0.0)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each clock is right again."""
        return await self._off_by(lab, 0.0)
