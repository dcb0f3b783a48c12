"""The nodes of an agent: specification, state, and power."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Final

import msgspec

from protocol.messages.agent.machine import Firmware, TpmBackend
from protocol.messages.agent.service_times import ServiceTimes, Slowdown
from protocol.messages.base import Event, Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import ClusterName, NodeName, Role


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A node's specification, fixed when it is added; ``config`` is its service's own struct as a
    map.

    ``vtpm``: the implementation of its virtual machines' TPMs, which do not need a TPM of the host.
    ``service``: how long it works on what; None: its work takes no lab time.
    """

    node: NodeName
    role: Role
    site: str = "main"
    cluster: ClusterName = ClusterName("")
    tpm: TpmBackend = TpmBackend.NONE
    vtpm: TpmBackend = TpmBackend.NONE
    firmware: Firmware = Firmware()
    knobs: dict[str, Any] = {}
    config: dict[str, Any] = {}
    service: ServiceTimes | None = None


class NodeRunState(StrEnum):
    """A node between power-on and power-off, as its agent sees it."""

    OFF = "off"
    BOOTING = "booting"
    RUNNING = "running"
    HALTED = "halted"  # a screen with the reason; only a power cycle helps


class RuleCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages to ``dst`` the link rule ``rule`` dropped, delayed or duplicated."""

    rule: str
    dst: NodeName
    struck: int


KMS_BOUNDS_MS: Final = (1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)
"""Upper bounds, in lab milliseconds, by which answers of key servers are counted."""


def kms_counter(bound_ms: int | None) -> str:
    """The counter of the answers of key servers that came within ``bound_ms`` and not within the
    bound before it; None: later than the last bound."""
    return "kms_beyond" if bound_ms is None else f"kms_within_{bound_ms}ms"


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A node as its agent sees it.

    ``ended``: how the last life ended (a ``WayDown`` value), empty while there is one;
    ``ended_before``: how the one before this life ended, as far as this agent has seen it.

    ``counters``: internal_errors, malformed, forged, late, dropped_egress, dropped_ingress,
    duplicates, requests, replies, calls_cut (with the link to the broker). What it asked of key
    servers: kms_failed (ended in an error), kms_total_us (lab time of those with an answer), and
    how many of these took how long (``kms_counter``). ``rules`` are the link rules on what the node
    sends. ``skew_s``: how far its wall clock is ahead, in lab seconds.
    ``slowdown``: what slows its work down; ``service``: as in its specification.
    """

    node: NodeName
    role: Role
    site: str
    cluster: ClusterName
    state: NodeRunState
    boot: int
    screen: str = ""
    ended: str = ""
    ended_before: str = ""
    tpm: TpmBackend = TpmBackend.NONE
    skew_s: float = 0.0
    slowdown: Slowdown | None = None
    service: ServiceTimes | None = None
    counters: dict[str, int] = {}
    rules: tuple[RuleCount, ...] = ()


class PowerOn(Request["NodePowered"], frozen=True, kw_only=True):
    """Power a node on; no change when it is on. ``wait``: answer when its start has ended."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    options: dict[str, str] = {}
    wait: bool = True


class PowerOff(Request["NodePowered"], frozen=True, kw_only=True):
    """End the node's life: ``way`` is stop, crash or power_loss; no change when it is off."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    way: str


class NodePowered(Reply, frozen=True, kw_only=True):
    """The node after the change of power."""

    status: NodeStatus


class ListNodes(Request["NodeList"], frozen=True, kw_only=True):
    """All nodes of this agent, by name, or only ``node``. Without ``counters``, these and the
    counts of link rules are left out."""

    node: NodeName = NodeName("")
    counters: bool = True


class NodeList(Reply, frozen=True, kw_only=True):
    """The requested nodes, by name."""

    nodes: tuple[NodeStatus, ...]


class AddNode(Request[Done], frozen=True, kw_only=True):
    """Add a node to the agent, powered off.

    No change when the agent has a node of that name and specification.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    spec: NodeSpec


class HoldNode(Request[Done], frozen=True, kw_only=True):
    """Pause one node of a process (``held``) or resume it; ``NotConnected`` when it is off.

    While it is paused, nothing reaches it, it sends nothing, and no wait of its clock ends.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    held: bool


class NodeRecord(Event, frozen=True, kw_only=True):
    """One line of a node's log: at (lab monotonic s), level, kind, fields without secrets."""

    at: float
    node: NodeName
    boot: int
    level: str
    kind: str
    fields: dict[str, Any] = {}
