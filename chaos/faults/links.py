"""Base of the link faults: rules on ordered pairs of nodes, probed by canaries."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import Field, field_validator, model_validator

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.faults.base import Fault, Notes, Params, Targets, names, own_values, running, status_of
from chaos.fields import Seconds, Share, format_s
from chaos.lab import Directory, LabUnderTest
from chaos.oracle.effects import NOTHING, FaultEffect, Takes
from protocol.errors import ProductError
from protocol.messages.agent import (
    CanaryResult,
    CutRule,
    DelayRule,
    DuplicateRule,
    LinkRule,
    LossRule,
)
from protocol.terms import CLIENT, NodeName, Role
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
    """Which links: ``between: [site:edge, role:kms]`` and ``dir: to | from | both``.

    ``client`` stands for the clients of the vSphere APIs: ``between: [client, vcenter]``.
    """

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
    of_clients: ClassVar[bool] = True
    """Whether there is such a fault between clients of the vSphere APIs and a server of theirs."""
    a: tuple[NodeName, ...]
    b: tuple[NodeName, ...]
    dir: Direction = Direction.BOTH

    @classmethod
    def of(cls, id: str, params: Any, targets: Targets) -> Fault:
        return cls(id=id, **(own_values(cls, params) | cls.ends(params, targets)))

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        return cls.draw_ends(draws, directory)

    @classmethod
    def ends(cls, params: LinkParams, targets: Targets) -> dict[str, Any]:
        """The fields ``a``, ``b``, ``dir`` of a link fault; KS-CHAOS-004 if no pair is left, or
        clients are to be cut off from what has no API for them."""
        a, b = (_select_end(side, targets) for side in params.between)
        if not any(x != y for x in a for y in b):
            raise ChaosError("KS-CHAOS-004", "a link connects two different nodes")
        if CLIENT in a + b:
            roles = {entry.node: entry.role for entry in targets.directory.nodes}
            served = {node for node, role in roles.items() if role in (Role.VCENTER, Role.ESXI)}
            if (CLIENT in a and CLIENT in b) or not served.issuperset({*a, *b} - {CLIENT}):
                raise ChaosError("KS-CHAOS-004", "clients have links to vCenters and hosts")
            if not cls.of_clients:
                text = f"{cls.kind}: a link of clients can be cut, delayed, reset or stalled"
                raise ChaosError("KS-CHAOS-004", f"{text}; TCP repairs everything else")
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

    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Rules on links of clients are in the desired set, which API servers follow; for links
        between nodes see ``strikes``."""
        there = {(rule.src, rule.dst) for rule in lab.rules() if rule.id == self.id}
        for src, dst in self.links():
            if CLIENT in (src, dst) and (src, dst) not in there:
                return f"its rule from {src} to {dst} is not in the desired set"
        if all(CLIENT in edge for edge in self.edges()):
            return ""
        return await self.strikes(lab, notes)

    @abstractmethod
    async def strikes(self, lab: LabUnderTest, notes: Notes) -> str:
        """Empty when the rules are seen to strike on links between nodes, else what was seen."""

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
        """The edges between nodes that are both up; canaries elsewhere would tell nothing."""
        if not await lab.broker_up():
            return ()
        up = {node: await running(lab, node) for node in self.touches() if node != CLIENT}
        return tuple((x, y) for x, y in self.edges() if up.get(x) and up.get(y))

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


def _select_end(side: str | list[str] | dict[str, str], targets: Targets) -> tuple[NodeName, ...]:
    """The nodes of one end of links, or ``client``, alone or in a list."""
    listed = side if isinstance(side, list) else [side]
    nodes = [one for one in listed if one != CLIENT]
    found = targets.nodes(nodes if isinstance(side, list) else side) if nodes else ()
    return found if len(nodes) == len(listed) else (CLIENT, *found)


NOTHING_UP = "no link of it has both ends up, so nothing can be seen"


class ShareFault(LinkRulesFault, frozen=True, kw_only=True):
    """A fault that strikes the share ``p`` of the messages of its links, above 0 and at most 1."""

    params: ClassVar[type[Params]] = ShareParams
    of_clients: ClassVar[bool] = False
    p: float

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


# Link cut -------------------------------------------------------------------------------------
#
# ``link.cut``: everything sent over the links is dropped, at egress and at ingress.


class LinkCutFault(LinkRulesFault, frozen=True, kw_only=True):
    """No message passes the links. Callers get no answer until their deadline."""

    kind: ClassVar[str] = "link.cut"
    example: ClassVar[str] = "between: [vcenter, kms]"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.LINKS,))
    inside: ClassVar[tuple[str, ...]] = ("host.power_loss", "proc.kill")

    def summary(self) -> str:
        return f"cut {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return CutRule(id=self.id, src=src, dst=dst, until=until)

    async def strikes(self, lab: LabUnderTest, notes: Notes) -> str:
        """No canary comes back on any edge, and it is the senders of cut links that drop.

        A cut of one direction also silences a ping of the other, whose reply it drops; that the
        drops are counted at the senders of the ruled links tells the direction.
        """
        edges = await self.find_live_edges(lab)
        senders = list(dict.fromkeys(src for src, _ in self.links()))
        before = await sum_counter(lab, senders, "dropped_egress")
        results = await ping(lab, edges, within_s=1.0, count=1)
        if not results:
            return NOTHING_UP
        for (x, y), result in results.items():
            if result.answered:
                return f"a canary from {x} to {y} was answered"
        if await sum_counter(lab, senders, "dropped_egress") <= before:
            return "canaries are silent, but no sender of a cut link counted a drop"
        return ""


# Link delay -----------------------------------------------------------------------------------
#
# ``link.delay``: each message is held for ``base``, plus up to ``jitter``.

SAMPLES = 3
PATIENCE_S = 5.0
LEAST_S = 0.001
"""Lab seconds of a delay at least; less cannot be told from a link without a fault."""


class LinkDelayParams(LinkParams):
    """As ``LinkParams``, with times such as ``300ms``: the delay, and the most added to it."""

    base: Seconds
    jitter: Seconds = 0.0

    @model_validator(mode="after")
    def _can_be_told(self) -> LinkDelayParams:
        if self.base + self.jitter < LEAST_S:
            raise ValueError("base and jitter are at least 1ms together")
        return self


class LinkDelayFault(LinkRulesFault, frozen=True, kw_only=True):
    """Messages are late by ``base`` lab seconds and up to ``jitter`` more, each way of ``dir``.

    One that would delay nothing (both 0) does not bite.
    """

    kind: ClassVar[str] = "link.delay"
    example: ClassVar[str] = "between: [vcenter, kms], base: 300ms, jitter: 50ms"
    params: ClassVar[type[Params]] = LinkDelayParams
    base: float
    jitter: float = 0.0

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        ends = cls.draw_ends(draws, directory)
        base_s, jitter_s = 10 ** (draws.unit() * 2.5 - 2), draws.unit()
        late = {"base": format_s(round(base_s, 3)), "jitter": format_s(round(jitter_s, 3))}
        return None if ends is None else ends | late

    def file_fields(self) -> dict[str, Any]:
        late = {"base": format_s(self.base), "jitter": format_s(self.jitter)}
        return super().file_fields() | late

    def summary(self) -> str:
        return f"delay {self.describe_ends()} by {self.base:g} s (+ up to {self.jitter:g} s)"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return DelayRule(
            id=self.id, src=src, dst=dst, base_s=self.base, jitter_s=self.jitter, until=until
        )

    @property
    def _ways(self) -> int:
        return 2 if self.dir is Direction.BOTH else 1

    @property
    def round_trip_s(self) -> float:
        """What the fault adds to a ping at least, in lab seconds."""
        return self.base * self._ways

    @property
    def _noticed_s(self) -> float:
        """By how much a ping may be slower than before without being taken for a delayed one."""
        return (self.base + self.jitter / 4) * self._ways / 2

    async def _fastest(self, lab: LabUnderTest) -> dict[str, float]:
        results = await ping(
            lab, await self.find_live_edges(lab), within_s=PATIENCE_S, count=SAMPLES
        )
        return {f"{x} {y}": min(r.seconds) for (x, y), r in results.items() if r.seconds}

    async def survey(self, lab: LabUnderTest) -> Notes:
        return {"before": await self._fastest(lab)}

    async def strikes(self, lab: LabUnderTest, notes: Notes) -> str:
        """Our rules held a message on every edge, and the fastest canary of each is as late as
        this fault and others make it.

        Where none comes back because another fault loses them, that our rules held one is all
        there is to see, or that they are in force where nothing at all passes.
        """
        if self.base + self.jitter <= 0:
            return "a delay of 0 has no effect"
        edges = await self.find_live_edges(lab)
        if not edges:
            return NOTHING_UP
        before = await self.count_struck(lab, edges)
        fastest = await self._fastest(lab)
        after = await self.count_struck(lab, edges)
        for edge in edges:
            seen = fastest.get(f"{edge[0]} {edge[1]}")
            least = self.round_trip_s + delay_range_s(self.others(lab, edge))[0]
            if seen is not None and seen < 0.9 * least:
                return f"a canary over {edge[0]} {edge[1]} took {seen:.3f} s"
            if not self._held(lab, edge, before, after):
                return f"its rules held no canary over {edge[0]} {edge[1]}"
        return ""

    def _held(
        self, lab: LabUnderTest, edge: Edge, before: Counter[Edge], after: Counter[Edge]
    ) -> bool:
        """Whether each of our links of the edge held a message, or need not (see ``bites``)."""
        if self.unreached(lab, edge, after):
            return True
        if kept_away(on_edge(lab, edge)):
            return either_way(after, edge) > either_way(before, edge)
        ours = [link for link in self.links() if {*link} == {*edge}]
        return all(after[link] > before[link] for link in ours)

    async def passes(self, lab: LabUnderTest, notes: Notes) -> str:
        """As for every link, and the fastest canary of three is as fast as before."""
        problem = await super().passes(lab, notes)
        if problem:
            return problem
        delays = [rule for rule in lab.rules() if isinstance(rule, DelayRule)]
        slow = {rule.src for rule in delays} | {rule.dst for rule in delays}
        for edge, seen in (await self._fastest(lab)).items():
            before = notes.get("before", {}).get(edge, 0.0)
            limit = max(2 * before, before + self._noticed_s)
            if seen > limit and not slow & {*edge.split()}:
                return f"a canary over {edge} still takes {seen:.3f} s"
        return ""


# Link loss ------------------------------------------------------------------------------------
#
# ``link.loss``: a share of the messages is dropped, drawn per message of the link.


class LinkLossFault(ShareFault, frozen=True, kw_only=True):
    """On each of its links the share ``p`` of the messages, above 0, is lost."""

    kind: ClassVar[str] = "link.loss"
    example: ClassVar[str] = "between: [vcenter, kms], p: 20%"
    effect: ClassVar[FaultEffect] = FaultEffect((Takes.LINKS,), share="p")

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        ends = cls.draw_ends(draws, directory)
        return None if ends is None else ends | {"p": round(0.05 + 0.55 * draws.unit(), 3)}

    def summary(self) -> str:
        return f"lose {self.p:.1%} on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return LossRule(id=self.id, src=src, dst=dst, share=self.p, until=until)

    async def strikes(self, lab: LabUnderTest, notes: Notes) -> str:
        """Our rules lose a message on every edge, and a canary does not come back.

        It is tried with as many canaries as make a miss one in a million. Where another fault
        lets nothing pass, that they are in force and silence are all that there is to see; where
        one doubles the canaries, a lost copy is enough.
        """
        if self.p <= 0:
            return "a loss of 0 has no effect"
        wanted = self.canaries
        waiting: tuple[Edge, ...] = await self.find_live_edges(lab)
        if not waiting:
            return NOTHING_UP
        before = await self.count_struck(lab, waiting)
        sent = 0
        while waiting and sent < wanted:
            count = min(BATCH, wanted - sent)
            results = await ping(lab, waiting, within_s=0.5, count=count)
            after = await self.count_struck(lab, waiting)
            waiting = tuple(
                edge
                for edge in waiting
                if edge not in results
                or not self._loses(lab, edge, before, after, results[edge].answered < count)
            )
            sent += count
        if waiting:
            return f"it lost none of {sent} canaries from {waiting[0][0]} to {waiting[0][1]}"
        return ""

    def _loses(
        self,
        lab: LabUnderTest,
        edge: Edge,
        before: Counter[Edge],
        after: Counter[Edge],
        silent: bool,
    ) -> bool:
        if self.unreached(lab, edge, after):
            return silent
        doubled = any(isinstance(rule, DuplicateRule) for rule in self.others(lab, edge))
        return either_way(after, edge) > either_way(before, edge) and (silent or doubled)


# Link dup -------------------------------------------------------------------------------------
#
# ``link.dup``: a share of the messages arrives twice.


class LinkDupFault(ShareFault, frozen=True, kw_only=True):
    """On each of its links the share ``p`` of the messages, above 0, is sent twice."""

    kind: ClassVar[str] = "link.dup"
    example: ClassVar[str] = "between: [vcenter, kms], p: 20%"
    effect: ClassVar[FaultEffect] = NOTHING

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        ends = cls.draw_ends(draws, directory)
        return None if ends is None else ends | {"p": round(0.05 + 0.95 * draws.unit(), 3)}

    def summary(self) -> str:
        return f"duplicate {self.p:.1%} on {self.describe_ends()}"

    def rule(self, src: NodeName, dst: NodeName, until: float) -> LinkRule:
        return DuplicateRule(id=self.id, src=src, dst=dst, share=self.p, until=until)

    async def passes(self, lab: LabUnderTest, notes: Notes) -> str:
        """As for every link, and no receiver counts a duplicate of a canary: where no other rule
        doubles what it is sent, or keeps the canaries away."""
        edges = await self.find_live_edges(lab)
        doubled = {rule.dst for rule in lab.rules() if isinstance(rule, DuplicateRule)}
        links = [
            (src, dst)
            for src, dst in self.links()
            if dst not in doubled and ((src, dst) in edges or (dst, src) in edges)
        ]
        free = [link for link in links if not kept_away(on_edge(lab, link))]
        receivers = list(dict.fromkeys(dst for _, dst in free))
        before = {node: await sum_counter(lab, [node], "duplicates") for node in receivers}
        problem = await super().passes(lab, notes)
        if problem:
            return problem
        await ping(lab, free, within_s=HEAL_WITHIN_S, count=self.canaries)
        for node in receivers:
            if await sum_counter(lab, [node], "duplicates") > before[node]:
                return f"{node} still counts duplicates"
        return ""

    async def strikes(self, lab: LabUnderTest, notes: Notes) -> str:
        """Each receiver that can be pinged counts a duplicate it dropped.

        Where another fault loses messages, that our rules doubled one is enough; where nothing
        passes at all, that they are in force.
        """
        if self.p <= 0:
            return "a share of 0 has no effect"
        count = self.canaries
        up = {node: await running(lab, node) for node in self.touches()}
        links = [(src, dst) for src, dst in self.links() if up[src] and up[dst]]
        if not links:
            return NOTHING_UP
        for receiver in dict.fromkeys(dst for _, dst in links):
            before = await sum_counter(lab, [receiver], "duplicates")
            mine = [link for link in links if link[1] == receiver]
            doubled = await self.count_struck(lab, mine)
            await ping(lab, mine, within_s=5.0, count=count)
            if await sum_counter(lab, [receiver], "duplicates") > before:
                continue
            after = await self.count_struck(lab, mine)
            if not all(
                self.unreached(lab, link, after)
                or (after[link] > doubled[link] and kept_away(self.others(lab, link)))
                for link in mine
            ):
                return f"{receiver} counted no duplicate among {count} canaries"
        return ""
