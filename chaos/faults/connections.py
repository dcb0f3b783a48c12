"""Base of the faults of connections: rules on links that befall these alone, and no message.

They are seen by handshakes that no service sees. Hosts without vSAN have no connections: links of
theirs are left out.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Targets
from chaos.faults.links import (
    HEAL_WITHIN_S,
    NOTHING_UP,
    Direction,
    Edge,
    LinkParams,
    LinkRulesFault,
    either_way,
    kept_away,
    ping,
)
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from protocol.errors import Disconnected, TimedOut
from protocol.messages.agent import LinkRule, ResetRule, StallRule
from protocol.terms import CLIENT, NodeName, Role

SEEN_WITHIN_S = 2.0


class ConnectionFault(LinkRulesFault, frozen=True, kw_only=True):
    """Rules that befall connections. ``meets`` is how a handshake ends that meets one of them."""

    meets: ClassVar[str]
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.CONNECTIONS,))

    @classmethod
    def of(cls, id: str, params: LinkParams, targets: Targets) -> Fault:
        without = {entry.node for entry in targets.directory.nodes if not entry.connects}
        ends = cls.ends(params, targets)
        if CLIENT in ends["a"] + ends["b"]:
            return cls(id=id, **ends)
        a, b = (tuple(node for node in ends[side] if node not in without) for side in ("a", "b"))
        if not any(x != y for x in a for y in b):
            raise ChaosError(
                "KS-CHAOS-004",
                "hosts without vSAN have no connections, nor have nodes of other machines in a lab "
                "whose key servers have no `transport: kmip`: two other nodes are wanted",
            )
        return cls(id=id, **(ends | {"a": a, "b": b}))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        """Where a vCenter asks key servers by KMIP: its links to some of them."""
        asking = [entry.node for entry in directory.nodes if entry.role is Role.VCENTER]
        asked = [entry.node for entry in directory.nodes if entry.by_kmip]
        if not asking or not asked:
            return None
        some = draws.pick(asked, 1 + draws.below(len(asked)))
        direction = list(Direction)[draws.below(len(Direction))]
        return {"between": [[str(asking[0])], list(map(str, some))], "dir": direction.value}

    @abstractmethod
    def rule(self, src: NodeName, dst: NodeName, until: float) -> ResetRule | StallRule: ...

    async def strikes(self, lab: LabUnderTest, notes: Notes) -> str:
        """On every edge a handshake ends as it does that meets our rules, and they struck.

        Where another fault keeps handshakes away, that our rules are in force is all that there is
        to see.
        """
        edges = await self.find_live_edges(lab)
        if not edges:
            return NOTHING_UP
        before = await self.count_struck(lab, edges)
        results = await ping(lab, edges, within_s=SEEN_WITHIN_S, count=1, stream=True)
        after = await self.count_struck(lab, edges)
        for (x, y), result in results.items():
            if self._kept_away(lab, (x, y)):
                if not all(link in after for link in self.links() if {*link} == {x, y}):
                    return f"no rule of it is in force between {x} and {y}"
            elif result.answered:
                return f"a connection from {x} to {y} came about"
            elif result.error != self.meets:
                return f"a connection from {x} to {y} ended in {result.error}"
            elif either_way(after, (x, y)) <= either_way(before, (x, y)):
                return f"a connection from {x} to {y} failed, and no rule of it struck"
        return ""

    async def passes(self, lab: LabUnderTest, notes: Notes) -> str:
        """As for every link, and a connection comes about wherever nothing else stands in the
        way."""
        problem = await super().passes(lab, notes)
        if problem:
            return problem
        free = [edge for edge in await self.find_live_edges(lab) if not self._kept_away(lab, edge)]
        results = await ping(lab, free, within_s=HEAL_WITHIN_S, count=1, stream=True)
        for (x, y), result in results.items():
            if not result.answered:
                return f"no connection comes about from {x} to {y}: {result.error}"
        return ""

    def _kept_away(self, lab: LabUnderTest, edge: Edge) -> bool:
        """Whether other faults may end a handshake, or make it late."""
        others = self.others(lab, edge)
        return kept_away(others) or any(isinstance(rule, BREAKING) for rule in others)


BREAKING: tuple[type[LinkRule], ...] = (ResetRule, StallRule)


# Link reset -----------------------------------------------------------------------------------
#
# ``link.reset``: connections that send something over the links are reset.


class LinkResetFault(ConnectionFault, frozen=True, kw_only=True):
    """Connections, also new ones, break when they send data over the links. Messages of the bus
    pass."""

    kind: ClassVar[str] = "link.reset"
    example: ClassVar[str] = "between: [vcenter, kms]"
    meets: ClassVar[str] = Disconnected.__name__

    def summary(self) -> str:
        return f"reset connections on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> ResetRule:
        return ResetRule(id=self.id, src=src, dst=dst, until=until)


# Link stall -----------------------------------------------------------------------------------
#
# ``link.stall``: handshakes over the links get no further.


class LinkStallFault(ConnectionFault, frozen=True, kw_only=True):
    """New connections are accepted, but their handshake never ends. Established connections and
    messages of the bus continue."""

    kind: ClassVar[str] = "link.stall"
    example: ClassVar[str] = "between: [vcenter, kms]"
    meets: ClassVar[str] = TimedOut.__name__

    def summary(self) -> str:
        return f"stall handshakes on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> StallRule:
        return StallRule(id=self.id, src=src, dst=dst, until=until)
