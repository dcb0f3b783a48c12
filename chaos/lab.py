"""The commands of a lab as faults, probes and the engine see it.

``lab.processes.process_lab`` (real processes over a broker) and ``lab.simulation.sim_lab`` (one
process in virtual time) implement it; nothing here knows which. All times are lab seconds.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from protocol.errors import ProductError
from protocol.messages.agent import (
    CanaryResult,
    DiskAct,
    Firmware,
    LinkRule,
    NodeRecord,
    NodeStatus,
    Slowdown,
    TpmAct,
    TpmActed,
)
from protocol.messages.base import Reply, Request
from protocol.terms import ClusterName, NodeName, ProviderId, Role, VmName
from protocol.tpm.errors import TpmError

R = TypeVar("R", bound=Reply)

REFUSALS = (ProductError, TpmError)
"""What a command of the lab raises when it is refused."""


class NodeEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A node of the topology, for selectors such as ``site:edge`` or ``role:esxi``.

    ``providers`` are the key providers of the Lab file that a key server serves, ``replication``
    the mode in which it replicates when that is after the answer, ``by_kmip``: whether it is asked
    by KMIP; of a host, ``tpm``: whether it has one, ``ha``: whether the lab's file turns vSphere
    HA on for its cluster, ``drs``: what the file has DRS do there by itself, empty: it is disabled,
    ``vsan``: whether its cluster has an encrypted vSAN, and ``vcenter``: that of its cluster.
    ``connects``: whether it has connections of TLS; a host has some for its vSAN alone.
    """

    node: NodeName
    role: Role
    site: str
    cluster: ClusterName = ClusterName("")
    providers: tuple[ProviderId, ...] = ()
    replication: str = ""
    by_kmip: bool = False
    tpm: bool = True
    ha: bool = False
    drs: str = ""
    vsan: bool = False
    vcenter: NodeName | None = None
    connects: bool = True


class Directory(msgspec.Struct, frozen=True, kw_only=True):
    """Who is there, by name in order of the topology file (hosts added later come last).

    ``knobs`` are those that the lab's file sets. ``bus_servers`` is how many servers its bus has;
    0: somebody else runs them.
    """

    nodes: tuple[NodeEntry, ...]
    vms: tuple[VmName, ...]
    default_provider: ProviderId | None = None
    bus_servers: int = 1
    knobs: dict[str, Any] = {}


class OfBus(Protocol):
    """What can be done with the data broker of a lab."""

    @abstractmethod
    async def broker_stop(self) -> None:
        """End the data broker (SIGKILL in the lab), of several servers all; everything in flight is
        gone."""
        ...

    @abstractmethod
    async def broker_start(self) -> None:
        """Start the data broker again; its clients come back by themselves. Of several servers
        those stay down that ``server_stop`` ended."""
        ...

    @abstractmethod
    async def broker_up(self) -> bool:
        """Whether the data broker runs, of several servers any."""
        ...

    @abstractmethod
    async def server_stop(self, number: int) -> None:
        """End one server of the data broker, counted from 1; its clients go to another one."""
        ...

    @abstractmethod
    async def server_start(self, number: int) -> None:
        """Start that server again; who has gone to another one stays there."""
        ...

    @abstractmethod
    async def server_up(self, number: int) -> bool:
        """Whether that server runs, and reaches all others that run, but where a route is cut."""
        ...

    @abstractmethod
    async def server_nodes(self, number: int) -> tuple[NodeName, ...]:
        """The nodes that are at that server, sorted; none when it does not answer."""
        ...

    @abstractmethod
    async def route_cut(self, one: int, other: int) -> None:
        """Take the route between two servers away: who is at one is not heard by who is at the
        other. Both go on, and with all others."""
        ...

    @abstractmethod
    async def route_mend(self, one: int, other: int) -> None:
        """The two reach each other again, when both run; no change when nothing was cut."""
        ...

    @abstractmethod
    async def routed(self, one: int, other: int) -> bool:
        """Whether a route leads from one server to the other, by the word of either; or one of the
        two is down, and has none to anybody."""
        ...


class LabUnderTest(OfBus, Protocol):
    """A lab under test.

    Every command returns when its effect is there, or raises ``ProductError``. A node that is not
    of this lab is ``NotFound``; one whose process is away cannot be asked (``NotConnected``).
    """

    @property
    def mode(self) -> str:
        """How the lab runs: ``sim`` in virtual time, or ``lab`` in real processes."""
        ...

    def directory(self) -> Directory:
        """Who is there now, added hosts included."""
        ...

    def monotonic(self) -> float:
        """Lab seconds since the lab began."""
        ...

    def in_lab_s(self, real_s: float) -> float:
        """Lab seconds that pass in so many real ones; 0 where virtual time waits for nobody."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return after ``seconds`` lab seconds."""
        ...

    async def status(self, node: NodeName) -> NodeStatus:
        """The node as its agent sees it, which no faulted link comes between."""
        ...

    async def ask(
        self, node: NodeName, message: Request[R], *, within_s: float = 30.0, user: str = ""
    ) -> R:
        """A question at the node's local console, over no link that a fault could touch.

        ``within_s`` lab seconds for the answer; ``user``: who asks, empty: the node's
        administrator. Raises what the service answered with.
        """
        ...

    async def statuses(self, *, counters: bool = True) -> dict[NodeName, NodeStatus]:
        """``status`` of every node that can be asked now, in order of the directory: one question
        per agent. Without ``counters`` (and what rules did) it is cheap."""
        ...

    async def ask_each(
        self, nodes: Sequence[NodeName], message: Request[R], *, within_s: float = 30.0
    ) -> dict[NodeName, R | ProductError]:
        """``ask`` of several nodes at once, one question per agent: what each has answered, or
        why it has not. ``message`` is a read."""
        ...

    async def log_lines(self, kind: str, since: float) -> Sequence[NodeRecord]:
        """The lines of this kind that nodes have logged since then, oldest first; as far back as
        logs are kept."""
        ...

    async def power_on(
        self, node: NodeName, options: dict[str, str] | None = None, *, wait: bool = True
    ) -> NodeStatus:
        """Power the node on; no change when it is on.

        ``options`` are boot options of this boot. With ``wait`` it returns when the start has
        ended, well or at a screen.
        """
        ...

    async def power_off(self, node: NodeName, way: str) -> NodeStatus:
        """End the node's life; no change when it is off.

        ``way`` is ``stop`` (in order), ``crash`` (of the kernel) or ``power_loss`` (what was not
        synced is gone).
        """
        ...

    async def kill(self, node: NodeName) -> None:
        """Kill the node's process: a crash of every node in it (lab); of this node (sim)."""
        ...

    async def respawned(self, node: NodeName) -> bool:
        """Whether the process that a kill took is there again, its nodes off."""
        ...

    async def pause(self, node: NodeName) -> None:
        """Let the node stand still until ``resume``.

        In the lab its process gets SIGSTOP when it is alone there; one of several is held at its
        ports, and the others go on. In sim its steps are parked.
        """
        ...

    async def resume(self, node: NodeName) -> None:
        """Let a paused node go on; no change when it is not paused."""
        ...

    async def paused(self, node: NodeName) -> bool:
        """Whether the node is paused."""
        ...

    async def put_rules(self, rules: Sequence[LinkRule]) -> None:
        """Add rules to the desired set; one of the same id and link replaces the older one.

        Agents have the new set on return.
        """
        ...

    async def drop_rules(self, rule_id: str) -> None:
        """Take every rule of this id out of the desired set."""
        ...

    def rules(self) -> tuple[LinkRule, ...]:
        """The desired set, without rules whose lease has run out; in the order of their chains."""
        ...

    async def canary(
        self,
        node: NodeName,
        to: NodeName,
        *,
        within_s: float = 1.0,
        count: int = 1,
        stream: bool = False,
    ) -> CanaryResult:
        """Send ``count`` pings from ``node`` to ``to`` over the data bus, at the same time.

        Each gets ``within_s`` lab seconds. What comes back, late or not at all, tells of the link.
        ``stream``: handshakes of connections instead of pings.
        """
        ...

    async def tpm(self, node: NodeName, act: TpmAct, label: str = "") -> TpmActed:
        """Do to the node's TPM what no host can; ``label`` names an image to save or put back.

        ``InvalidState`` for a node without TPM, and for acts that need the power off.
        """
        ...

    async def firmware(self, node: NodeName, firmware: Firmware) -> None:
        """Set the host's firmware up; in force from its next power-on."""
        ...

    async def firmware_of(self, node: NodeName) -> Firmware:
        """How the host's firmware is set up."""
        ...

    async def skew(self, node: NodeName, seconds: float) -> None:
        """Set the node's wall clock so far ahead (behind, when negative); 0 is right again. What it
        waits for takes as long as ever."""
        ...

    async def slow(self, node: NodeName, slowdown: Slowdown | None) -> None:
        """Slow the node's work down; None ends that."""
        ...

    async def disk(self, node: NodeName, act: DiskAct, label: str) -> None:
        """Save, put back or drop a copy of the node's disk called ``label``.

        ``InvalidState`` when the node is not off, ``NotFound`` when there is no such copy.
        """
        ...
