"""What every fault is: an interval with a bite check, a verified heal, and perhaps a cure.

Adding a fault: one file in this folder, one line in the tuple of ``chaos.faults``.
"""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import StructMeta
from pydantic import BaseModel, ConfigDict

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.lab import REFUSALS, Directory, LabUnderTest
from chaos.oracle.effects import FaultEffect
from chaos.selectors import select_nodes, select_vms
from protocol.errors import NotFound
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.terms import NodeName, ProviderId, Role, VmName
from services.runtime.each import try_each

Notes = dict[str, Any]
"""Plain values that bite check, heal and cure need; kept in the lab's state."""

T = TypeVar("T", bound=str)


class Params(BaseModel):
    """What a file or command gives for a fault, before names are resolved."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Targets:
    """Resolves selectors against one lab; draws come from a stream of the fault's own."""

    def __init__(self, directory: Directory, draws: Draws) -> None:
        self.directory = directory
        self._draws = draws

    def nodes(self, selector: object, role: Role | None = None) -> tuple[NodeName, ...]:
        """The nodes; those of another role are left out when ``role`` is given.

        ``ChaosError`` KS-CHAOS-010 when there is none, 011 for what is no selector.
        """
        found = select_nodes(selector, self.directory, self._draws)
        if role is None:
            return found
        roles = {entry.node: entry.role for entry in self.directory.nodes}
        return tuple(node for node in found if roles[node] is role)

    def vms(self, selector: object) -> tuple[VmName, ...]:
        """The VMs; ``ChaosError`` KS-CHAOS-010 when there is none, 011 for what selects nothing."""
        return select_vms(selector, self.directory, self._draws)

    def of_role(self, role: Role) -> tuple[NodeName, ...]:
        """All nodes of ``role``, in order of the directory."""
        return tuple(entry.node for entry in self.directory.nodes if entry.role is role)

    def provider(self, name: str | None, vcenter: str | None) -> tuple[ProviderId, NodeName]:
        """The key provider meant and its vCenter; what is left out is the lab's default provider,
        and its first vCenter. ``ChaosError`` KS-CHAOS-106 when there is none."""
        provider = name or self.directory.default_provider
        vcenters = self.of_role(Role.VCENTER)
        if provider is None or not vcenters:
            raise ChaosError("KS-CHAOS-106", "no provider is named, and the lab has no default")
        meant = NodeName(vcenter or vcenters[0])
        if meant not in vcenters:
            raise ChaosError("KS-CHAOS-106", f"there is no vCenter {meant}")
        return ProviderId(provider), meant


class Drawn(StrEnum):
    """In which random runs a kind of fault is drawn, unless a mix names its kinds."""

    SWARM = "swarm"
    """In each, beside others."""
    RARE = "rare"
    """In some, one at most: it ends with its cure."""
    AT_TIMES = "at times"
    """In some, beside the swarm (``chaos.experiment.random_runs``)."""
    KMIP = "kmip"
    """Where key servers are behind KMIP; it ends with its cure."""
    CLUSTERED_BUS = "clustered bus"
    """Where the bus has several servers."""
    ACTIVE_SERVER = "active server"
    """Where one key server of several takes the changes."""
    APART = "apart"
    """As a rule of its own says: crashes within a call, an intruder."""
    NEVER = "never"
    """In none; ``undrawn`` says why."""


class _FaultMeta(StructMeta, ABCMeta):
    """A struct whose abstract methods are enforced."""


class Fault(msgspec.Struct, frozen=True, kw_only=True, metaclass=_FaultMeta):
    """A fault with its parameters resolved: concrete node names, lab seconds.

    ``kind`` is its name in files and commands (``link.cut``), ``example`` its own fields as a file
    has them. ``id`` is unique in the lab.
    ``holds_power`` marks faults that decide whether a node runs: two of them at once on one
    node would undo each other. ``lasts_s`` is the length of an interval whose file gives none;
    None: until the end of the run. ``at_point``: it happens within a call that its entry waits
    for, and nobody can begin it.

    ``effect`` is what it takes away, as the oracle follows it: what it may excuse. ``drawn`` is
    what a campaign may draw, ``undrawn`` why it draws none where it could; ``inside`` are kinds
    of which a campaign puts one into an interval of it; ``alone``: no other fault of a campaign
    shares a host with it, because its end boots the host.
    """

    kind: ClassVar[str]
    example: ClassVar[str]
    params: ClassVar[type[Params]]
    effect: ClassVar[FaultEffect]
    drawn: ClassVar[Drawn] = Drawn.SWARM
    undrawn: ClassVar[str] = ""
    inside: ClassVar[tuple[str, ...]] = ()
    alone: ClassVar[bool] = False
    reversible: ClassVar[bool] = True
    holds_power: ClassVar[bool] = False
    lasts_s: ClassVar[float | None] = None
    at_point: ClassVar[bool] = False
    id: str

    @classmethod
    @abstractmethod
    def of(cls, id: str, params: Any, targets: Targets) -> Fault:
        """The fault for ``params`` (an instance of ``cls.params``); raises ``ChaosError``."""

    @classmethod
    def draw_fields(cls, draws: Draws, directory: Directory) -> Mapping[str, Any] | None:
        """Its own fields as a file has them, drawn for a random schedule; None: it is never
        drawn, because it needs what a random schedule cannot know."""
        return None

    @abstractmethod
    def file_fields(self) -> dict[str, Any]:
        """Its own fields as a file has them, names resolved: read again they make this fault."""

    @abstractmethod
    def touches(self) -> tuple[NodeName, ...]:
        """The nodes that it acts on, for the blast radius and ``describe``."""

    def between(self) -> tuple[tuple[NodeName, NodeName], ...] | None:
        """The pairs of nodes between which it acts; None: on the nodes that it touches."""
        return None

    @abstractmethod
    def summary(self) -> str:
        """One line for ``keystead get faults``."""

    def holds(self) -> tuple[str, ...]:
        """Settings of which it must put back what was before, and which a second fault must
        therefore not change meanwhile: ``firmware of esxi-001``."""
        return ()

    async def survey(self, lab: LabUnderTest) -> Notes:
        """Look and change nothing: what heal and bite check must know of the time before.

        The keeper saves it before ``begin``, so that a controller that dies in the middle
        leaves enough behind for another to heal. ``ChaosError`` KS-CHAOS-106 when it cannot
        act here.
        """
        return {}

    @abstractmethod
    async def begin(self, lab: LabUnderTest, until: float, notes: Notes) -> None:
        """Make it so; link rules carry the lease ``until`` (0 = none). May add to ``notes``."""

    def history_fields(self, notes: Notes) -> dict[str, Any]:
        """For the history: what it acts on that was only found in the survey, as plain data."""
        return {}

    async def renew(self, lab: LabUnderTest, until: float) -> None:
        """Let the lease last until ``until`` (lab monotonic s); only link faults have one."""

    @abstractmethod
    async def bites(self, lab: LabUnderTest, notes: Notes) -> str:
        """Empty when it really happens; else what was seen instead."""

    async def heal(self, lab: LabUnderTest, notes: Notes) -> None:
        """Take it back; again is no change. An irreversible one has nothing to do here."""

    @abstractmethod
    async def verify_heal(self, lab: LabUnderTest, notes: Notes) -> str:
        """Empty when it is really gone; else what was seen instead."""

    def cure_text(self) -> str:
        """For an irreversible one: what a person must do."""
        return ""

    async def cure(self, lab: LabUnderTest, notes: Notes) -> None:
        """For an irreversible one: do it; raises ``ChaosError`` KS-CHAOS-107."""


def own_values(kind: type[Fault], params: Params) -> dict[str, Any]:
    """What a file gives for fields that the fault has under the same name."""
    shared = (name for name in kind.__struct_fields__ if name in type(params).model_fields)
    return {name: getattr(params, name) for name in shared}


async def all_of(items: Sequence[T], act: Callable[[T], Awaitable[object]]) -> None:
    """Do ``act`` for all at the same time; raises one ``ProductError`` that tells every failure."""
    outcomes = await try_each(items, act, failures=REFUSALS)
    errors = [
        f"{item}: {type(error).__name__}: {error}"
        for item, error in zip(items, outcomes, strict=True)
        if isinstance(error, Exception)
    ]
    if errors:
        raise NotFound("; ".join(errors))


async def status_of(lab: LabUnderTest, node: NodeName) -> NodeStatus | None:
    """The node's status; None while its process is away."""
    try:
        return await lab.status(node)
    except REFUSALS:
        return None


async def running(lab: LabUnderTest, node: NodeName) -> bool:
    """Whether the node serves: it is up, and not paused."""
    status = await status_of(lab, node)
    if status is None or status.state is not NodeRunState.RUNNING:
        return False
    try:
        return not await lab.paused(node)
    except REFUSALS:
        return False


def names(nodes: tuple[NodeName, ...]) -> str:
    """``esxi-001``, or ``esxi-001 .. esxi-008 (8)``: short enough for one line."""
    if len(nodes) <= 3:
        return ", ".join(nodes)
    return f"{nodes[0]} .. {nodes[-1]} ({len(nodes)})"
