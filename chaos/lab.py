"""The verbs of a lab as faults, probes and the engine see it.

``lab.processes.process_lab`` (real processes over a broker) and ``lab.simulation.sim_lab`` (one
process in virtual time) implement it; nothing here knows which. All times are lab seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from protocol.messages.agent import (
    CanaryResult,
    DiskAct,
    Firmware,
    LinkRule,
    NodeStatus,
    TpmAct,
    TpmActed,
)
from protocol.messages.base import Reply, Request
from protocol.terms import ClusterName, NodeName, ProviderId, Role, VmName

R = TypeVar("R", bound=Reply)


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the topology, for selectors such as ``site:edge`` or ``role:esxi``."""

    node: NodeName
    role: Role
    site: str
    cluster: ClusterName = ClusterName("")


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Who is there, by name in order of the topology file (hosts added later come last)."""

    nodes: tuple[NodeEntry, ...]
    vms: tuple[VmName, ...]
    default_provider: ProviderId | None = None


class Lab(Protocol):
    """A lab under test. Every verb returns when its effect is there, or raises ``ProductError``."""

    @property
    def mode(self) -> str:
        """``sim`` or ``lab``."""
        ...

    def directory(self) -> Directory: ...
    def monotonic(self) -> float:
        """Lab seconds since the lab began."""
        ...

    async def sleep(self, seconds: float) -> None: ...
    async def status(self, node: NodeName) -> NodeStatus: ...
    async def ask(self, node: NodeName, message: Request[R], *, within: float = 30.0) -> R:
        """A question at the node's local console, over no link that a fault could touch."""
        ...

    async def power_on(
        self, node: NodeName, options: dict[str, str] | None = None, *, wait: bool = True
    ) -> NodeStatus: ...
    async def power_off(self, node: NodeName, way: str) -> NodeStatus:
        """``way``: stop (orderly), crash (kernel crash), power_loss."""
        ...

    async def kill(self, node: NodeName) -> None:
        """Kill the node's process: a crash of every node in it (lab); of this node (sim)."""
        ...

    async def respawned(self, node: NodeName) -> bool:
        """Whether the process that a kill took is there again, its nodes off."""
        ...

    async def pause(self, node: NodeName) -> None:
        """SIGSTOP of the node's process (lab); its steps are parked (sim). The lease ends it."""
        ...

    async def resume(self, node: NodeName) -> None: ...
    async def paused(self, node: NodeName) -> bool: ...
    async def put_rules(self, rules: Sequence[LinkRule]) -> None:
        """Add to the desired set (same id, src, dst: replace); agents have it on return."""
        ...

    async def drop_rules(self, rule_id: str) -> None:
        """Take every rule of this id out of the desired set."""
        ...

    def rules(self) -> tuple[LinkRule, ...]: ...
    async def canary(
        self, node: NodeName, to: NodeName, *, within: float = 1.0, count: int = 1
    ) -> CanaryResult: ...
    async def tpm(self, node: NodeName, act: TpmAct, label: str = "") -> TpmActed: ...
    async def firmware(self, node: NodeName, firmware: Firmware) -> None: ...
    async def firmware_of(self, node: NodeName) -> Firmware: ...
    async def disk(self, node: NodeName, act: DiskAct, label: str) -> None: ...
    async def broker_stop(self) -> None:
        """End the data broker (SIGKILL in the lab); everything in flight is gone."""
        ...

    async def broker_start(self) -> None: ...
    async def broker_up(self) -> bool: ...
