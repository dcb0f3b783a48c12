"""The nodes that an agent holds: what they are, how they are, and their power."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from protocol.messages.agent.machine import Firmware, TpmBackend
from protocol.messages.base import Event, Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import ClusterName, NodeName, Role


class NodeSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What a node is, fixed when it is added; ``config`` is its service's own struct as a map.

    ``vtpm``: what plays the TPMs of a host's virtual machines, for which it needs none itself.
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


class NodeRunState(StrEnum):
    """Where a node is between power-on and power-off, as its agent sees it."""

    OFF = "off"
    BOOTING = "booting"
    RUNNING = "running"
    HALTED = "halted"  # a screen with the reason; only a power cycle helps


class RuleCount(msgspec.Struct, frozen=True, kw_only=True):
    """How many messages to ``dst`` the link rules called ``rule`` dropped, held or doubled."""

    rule: str
    dst: NodeName
    struck: int


class NodeStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A node as its agent sees it.

    ``ended``: how the last life ended (a ``WayDown`` value), empty while there is one;
    ``ended_before``: how the one before this life ended, as far as this agent has seen it.

    ``counters``: internal_errors, malformed, forged, late, dropped_egress, dropped_ingress,
    duplicates, requests, replies, calls_cut (with the link to the broker). ``rules`` are the link
    rules on what the node sends. ``skew_s``: how far its wall clock is ahead, in lab seconds.
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
    """The node after its power was switched."""

    status: NodeStatus


class ListNodes(Request["NodeList"], frozen=True, kw_only=True):
    """All nodes of this agent, by name, or only ``node``; without ``counters`` neither they nor
    what link rules did are told."""

    node: NodeName = NodeName("")
    counters: bool = True


class NodeList(Reply, frozen=True, kw_only=True):
    """The nodes that were asked for, by name."""

    nodes: tuple[NodeStatus, ...]


class AddNode(Request[Done], frozen=True, kw_only=True):
    """Let the agent hold a node (off).

    No change when it holds one of that name and spec.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    spec: NodeSpec


class HoldNode(Request[Done], frozen=True, kw_only=True):
    """Let one node of a process stand still (``held``) or go on; ``NotConnected`` when it is off.

    Nothing reaches it, nothing leaves it, and no wait of its clock ends meanwhile.
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
