"""Base of the link faults: rules on ordered pairs of nodes, probed by canaries."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field, field_validator

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Params, Targets, names, running, status_of
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect, Takes
from chaos.units import Share
from protocol.errors import ProductError
from protocol.messages.agent import CanaryResult, CutRule, DelayRule, LinkRule, LossRule
from protocol.terms import NodeName, Role
from services.runtime.each import try_each

Edge = tuple[NodeName, NodeName]
AT_ONCE = 64
BATCH = 20
"""How many canaries are sent over one edge at a time."""
HEAL_WITHIN_S = 5.0
LONGEST_HOLD_S = 60.0
"""How long a canary is waited for because rules hold it; one held longer counts as silent."""
LEAST_SHARE = 0.001
MISSED_SHARE = 1e-6
"""How likely a bite check may be to see nothing although the fault is there."""


class Direction(StrEnum):
    """Seen from the first of ``between``: what it sends, what it is sent, or both."""

    TO = "to"
    FROM = "from"
    BOTH = "both"


class LinkParams(Params):
    """Which links: ``between: [site:edge, role:kms]`` and ``dir: to | from | both``."""

    between: list[str | list[str] | dict[str, str]] = Field(min_length=2, max_length=2)
    dir: Direction = Direction.BOTH


class ShareParams(LinkParams):
    """As ``LinkParams``, with the share of messages that the fault befalls."""

    p: Share

    @field_validator("p")
    @classmethod
    def _can_be_seen(cls, value: float) -> float:
        """A rarer one would need more canaries than anybody waits for."""
        if 0 < value < LEAST_SHARE:
            raise ValueError(f"a share below {LEAST_SHARE:.1%} is too rare to be seen")
        return value


def enough(share: float) -> int:
    """How many canaries it takes that all escape this share once in a million times; one when
    there is nothing to escape."""
    if share <= 0:
        return 1
    return math.ceil(math.log(MISSED_SHARE) / math.log(1 - share)) if share < 1 else 1


class LinkRulesFault(Fault, frozen=True, kw_only=True):
    """Rules on every link between the nodes of ``a`` and those of ``b``."""

    params: ClassVar[type[Params]] = LinkParams
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.LINKS,), partly=True)
    a: tuple[NodeName, ...]
    b: tuple[NodeName, ...]
    dir: Direction = Direction.BOTH

    @staticmethod
    def ends(params: LinkParams, targets: Targets) -> dict[str, Any]:
        """The fields ``a``, ``b``, ``dir`` of a link fault; KS-CHAOS-004 if no pair is left."""
        a, b = (targets.nodes(side) for side in params.between)
        if not any(x != y for x in a for y in b):
            raise ChaosError("KS-CHAOS-004", "a link connects two different nodes")
        return {"a": a, "b": b, "dir": params.dir}

    @staticmethod
    def draw_ends(draws: Draws, directory: Directory) -> dict[str, Any] | None:
        """``between`` and ``dir`` for links that carry something: vCenter to some hosts or to
        some key servers, or two key servers; None in a lab without any."""
        of = {role: [e.node for e in directory.nodes if e.role is role] for role in Role}
        pairs = [(of[Role.VCENTER], of[Role.ESXI]), (of[Role.VCENTER], of[Role.KMS])]
        pairs += [(of[Role.KMS][:1], of[Role.KMS][1:])]
        pairs = [(first, others) for first, others in pairs if first and others]
        if not pairs:
            return None
        first, others = pairs[draws.below(len(pairs))]
        many = len(others) if draws.unit() < 0.3 else 1 + draws.below(len(others))
        ends = [list(map(str, first[:1])), list(map(str, draws.pick(others, many)))]
        directions = (Direction.BOTH, Direction.BOTH, Direction.TO, Direction.FROM)
        return {"between": ends, "dir": directions[draws.below(4)].value}

    def file_fields(self) -> dict[str, Any]:
        ends = [list(map(str, self.a)), list(map(str, self.b))]
        return {"between": ends, "dir": self.dir.value}

    def between(self) -> tuple[Edge, ...] | None:
        return self.edges()

    def edges(self) -> tuple[Edge, ...]:
        """The pairs of one node of ``a`` and one of ``b``, each once."""
        seen: dict[Edge, None] = {}
        for x in self.a:
            for y in self.b:
                if x != y and (y, x) not in seen:
                    seen[x, y] = None
        return tuple(seen)

    def links(self) -> tuple[Edge, ...]:
        """The ordered pairs (sender, receiver) that the rules are on."""
        forth = self.edges() if self.dir is not Direction.FROM else ()
        back = tuple((y, x) for x, y in self.edges()) if self.dir is not Direction.TO else ()
        return forth + back

    @abstractmethod
    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        """The rule that this fault puts on one link, with the lease ``until`` (0 = none)."""

    def touches(self) -> tuple[NodeName, ...]:
        return tuple(dict.fromkeys(self.a + self.b))

    def describe_ends(self) -> str:
        """The ends and the direction in one line: ``vcenter <-> kms``."""
        arrow = {Direction.TO: "->", Direction.FROM: "<-", Direction.BOTH: "<->"}[self.dir]
        return f"{names(self.a)} {arrow} {names(self.b)}"

    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        await lab.put_rules([self.rule(src, dst, until) for src, dst in self.links()])

    async def renew(self, lab: LabUnderTest, until: float) -> None:
        await lab.put_rules([self.rule(src, dst, until) for src, dst in self.links()])

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        await lab.drop_rules(self.id)

    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """No rule of ours is wanted, none is in force at a node, and links pass what they did."""
        left = [rule for rule in lab.rules() if rule.id == self.id]
        if left:
            return f"{len(left)} rules are still in the desired set"
        problem = await self.passes(lab, notes)
        if problem:
            return problem
        in_force = await self.count_struck(lab, self.links())
        if in_force:
            src, dst = next(iter(in_force))
            return f"its rule is still in force at {src} for what goes to {dst}"
        return ""

    async def passes(self, lab: LabUnderTest, notes: Notes) -> str:
        """Empty when canaries pass wherever nothing else stands in the way: all of as many as it
        takes to see the fault (``canaries``)."""
        free = [
            edge for edge in await self.find_live_edges(lab) if not kept_away(on_edge(lab, edge))
        ]
        waiting = self.canaries
        while waiting > 0:
            count = min(BATCH, waiting)
            results = await ping(lab, free, within_s=HEAL_WITHIN_S, count=count)
            for (x, y), result in results.items():
                if result.answered < count and await lab.broker_up():
                    some = "no canary passes" if not result.answered else "not every canary passes"
                    return f"{some} from {x} to {y}"
            waiting -= count
        return ""

    @property
    def canaries(self) -> int:
        """How many canaries over one link it takes to see this fault, but for one in a million."""
        return 1

    async def find_live_edges(self, lab: LabUnderTest) -> tuple[Edge, ...]:
        """The edges whose ends are both up; canaries elsewhere would tell nothing."""
        if not await lab.broker_up():
            return ()
        up = {node: await running(lab, node) for node in self.touches()}
        return tuple((x, y) for x, y in self.edges() if up[x] and up[y])

    async def count_struck(self, lab: LabUnderTest, edges: Iterable[Edge]) -> Counter[Edge]:
        """How many messages our own rules struck, by link (sender, receiver), among ``edges``.

        Several faults may be on one link. Silence and lateness may then be another's doing; what
        our rules struck is not. A link is missing when its sender has no rule of ours.
        """
        found: Counter[Edge] = Counter()
        for node in dict.fromkeys(node for edge in edges for node in edge):
            status = await status_of(lab, node)
            for count in status.rules if status is not None else ():
                if count.rule == self.id:
                    found[node, count.dst] = count.struck
        return found

    def others(self, lab: LabUnderTest, edge: Edge) -> tuple[LinkRule, ...]:
        """Rules of other faults on this edge, in either direction."""
        return tuple(rule for rule in on_edge(lab, edge) if rule.id != self.id)

    def unreached(self, lab: LabUnderTest, edge: Edge, struck: Counter[Edge]) -> bool:
        """Whether our rules are in force on an edge that another fault silences altogether.

        Nothing need reach them there, so that they are in force is all that there is to see.
        """
        silenced = any(
            isinstance(rule, CutRule) or (isinstance(rule, LossRule) and rule.share >= 1)
            for rule in self.others(lab, edge)
        )
        ours = [link for link in self.links() if {*link} == {*edge}]
        return silenced and all(link in struck for link in ours)


NOTHING_UP = "no link of it has both ends up, so nothing can be seen"


class ShareFault(LinkRulesFault, frozen=True, kw_only=True):
    """A fault that strikes the share ``p`` of the messages of its links, above 0 and at most 1."""

    params: ClassVar[type[Params]] = ShareParams
    p: float

    @classmethod
    def of(cls, id: str, params: ShareParams, targets: Targets) -> Fault:
        return cls(id=id, p=params.p, **cls.ends(params, targets))

    def file_fields(self) -> dict[str, Any]:
        return super().file_fields() | {"p": self.p}

    @property
    def canaries(self) -> int:
        return enough(self.p)


def on_edge(lab: LabUnderTest, edge: Edge) -> tuple[LinkRule, ...]:
    """The rules on this edge, in either direction."""
    ends = (edge, (edge[1], edge[0]))
    return tuple(rule for rule in lab.rules() if (rule.src, rule.dst) in ends)


def either_way(counts: Counter[Edge], edge: Edge) -> int:
    """What is counted on an edge, both directions together."""
    return counts[edge] + counts[edge[1], edge[0]]


def delay_range_s(rules: Iterable[LinkRule]) -> tuple[float, float]:
    """The least and the most lab seconds that ``rules`` together hold a message."""
    delays = [rule for rule in rules if isinstance(rule, DelayRule)]
    least = sum(rule.base_s for rule in delays)
    return least, least + sum(rule.jitter_s for rule in delays)


def kept_away(rules: Iterable[LinkRule]) -> bool:
    """Whether ``rules`` may keep a canary from coming back while it is waited for."""
    rules = tuple(rules)
    return any(rule.loses for rule in rules) or delay_range_s(rules)[1] > LONGEST_HOLD_S


async def ping(
    lab: LabUnderTest,
    edges: list[Edge] | tuple[Edge, ...],
    *,
    within_s: float,
    count: int,
    stream: bool = False,
) -> dict[Edge, CanaryResult]:
    """Send ``count`` canaries over each edge, all edges at the same time; handshakes of
    connections if ``stream``.

    Edges whose sender could not be asked are left out.

    A canary gets ``within_s`` lab seconds, and on top the time that the rules in force hold it, at
    most ``LONGEST_HOLD_S``: one that is late on purpose is not taken for a lost one.
    """

    async def one(edge: Edge) -> CanaryResult:
        patience_s = within_s + min(delay_range_s(on_edge(lab, edge))[1], LONGEST_HOLD_S)
        return await lab.canary(edge[0], edge[1], within_s=patience_s, count=count, stream=stream)

    results = await try_each(edges, one, at_once=AT_ONCE, name="canary")
    return {
        edge: result
        for edge, result in zip(edges, results, strict=True)
        if isinstance(result, CanaryResult)
    }


async def sum_counter(lab: LabUnderTest, nodes: list[NodeName], counter: str) -> int:
    """The sum of a counter over those of ``nodes`` that can be asked."""
    total = 0
    for node in nodes:
        try:
            total += (await lab.status(node)).counters.get(counter, 0)
        except ProductError:
            continue
    return total
