"""What real and simulated labs share: everything of ``chaos.lab.LabUnderTest`` that goes to an
agent.

A subclass says how a control message reaches the agent of a node, and does what is different:
processes, the broker, and time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar, cast

import msgspec

from chaos.lab import Directory, OfBus
from lab.consoles.queries import Looking, decode_answer
from lab.scan.search import SecretWatch
from lab.topology.plan import Topology, directory_of
from lab.topology.secret_files import first_line
from protocol.codec import encode_message
from protocol.errors import InvalidState, NotConnected, NotFound, ProductError
from protocol.messages.agent import (
    AddNode,
    Ask,
    Canary,
    CanaryResult,
    DiskAct,
    DiskAction,
    Firmware,
    LinkRule,
    ListNodes,
    NodeRecord,
    NodeRunState,
    NodeSpec,
    NodeStatus,
    PowerOff,
    PowerOn,
    SetFirmware,
    SetRules,
    SkewClock,
    Slowdown,
    SlowNode,
    TpmAct,
    TpmActed,
    TpmAction,
)
from protocol.messages.base import Reply, Request
from protocol.terms import CLIENT, NodeName, Role, VmName
from services.kms.sealing.roots.passphrase import PASSPHRASE_OPTION
from services.runtime.each import try_each
from services.runtime.link_rules import DesiredRules
from services.runtime.world import TapCallback

R = TypeVar("R", bound=Reply)

BOOT_LIMIT_S = 600.0  # lab seconds an agent gets for a power-on or power-off
BOOT_LIMIT_REAL_S = 120.0  # real seconds that it gets at least: many may boot at once
LOOK_LIMIT_S = 10.0  # lab seconds that it gets to say how its nodes are


class LabCore(OfBus, ABC):
    """The lab's own side of every node; implements ``chaos.lab.LabUnderTest`` with its subclass."""

    def __init__(self, topology: Topology) -> None:
        self.topology = topology
        self._specs: dict[NodeName, NodeSpec] = {s.node: s for s in topology.nodes}
        self._skew: dict[NodeName, SkewClock] = {}
        self._slow: dict[NodeName, SlowNode] = {}
        self._firmware: dict[NodeName, Firmware] = {s.node: s.firmware for s in topology.nodes}
        self._vms: dict[VmName, None] = {v.vm: None for v in topology.vms}
        self._desired = DesiredRules()
        self._known: dict[NodeName, NodeStatus] = {}
        self._directory: Directory | None = None
        self._looking = Looking(lambda *asked: self.tell(*asked))
        self.watch: SecretWatch | None = None  # of a lab that was made to be searched

    def explain_exclusion(self, node: NodeName) -> str:
        """Why the node may not use the bus now, as a sentence without its end; empty when it may.
        In virtual time nobody floods it."""
        return ""

    # ---- what a subclass gives --------------------------------------------------------------

    @abstractmethod
    def tap(self, hear: TapCallback) -> AbstractAsyncContextManager[Callable[[], int]]:
        """While it is entered ``hear(subject, reply, payload)`` is called with every message
        that the data broker lets in; what is entered tells how often the tap lost its link."""

    @abstractmethod
    def by_agent(self, nodes: Iterable[NodeName]) -> tuple[tuple[NodeName, ...], ...]:
        """Those of ``nodes`` that can be asked now, in their order, by the agent that has them:
        without paused ones, and those whose process is away."""

    @property
    @abstractmethod
    def mode(self) -> str: ...

    @abstractmethod
    async def tell(self, node: NodeName, message: Request[R], within_s: float) -> R:
        """Send a control message to the agent that holds ``node``; lab seconds."""

    @abstractmethod
    async def tell_all(self, message: Request[R]) -> tuple[R, ...]:
        """Send it to every agent that is alive, in a fixed order."""

    @abstractmethod
    def monotonic(self) -> float: ...

    @abstractmethod
    def wall(self) -> float:
        """Unix seconds on the clock of the lab, which its nodes have but for their skew."""

    @abstractmethod
    def in_lab_s(self, real_s: float) -> float:
        """Lab seconds that pass in so many real ones; 0 where virtual time waits for nobody."""

    @property
    @abstractmethod
    def lease_tick_s(self) -> float:
        """Lab seconds between two looks at the leases of faults."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None: ...

    @abstractmethod
    def operation_id(self) -> str:
        """A new id for a request of kind *create*; in the simulation fixed by the seed."""

    @abstractmethod
    async def tpm_nv(self, node: NodeName) -> bytes:
        """What the node's TPM keeps without power, read behind its back; empty without a TPM."""

    @abstractmethod
    async def log_lines(self, kind: str, since: float) -> Sequence[NodeRecord]: ...

    @abstractmethod
    async def at_rest(self) -> list[tuple[str, bytes]]:
        """(path, bytes) of every byte that lies on a disk or a datastore now."""

    @abstractmethod
    async def datastore_file(self, datastore: str, vm: VmName, file: str) -> bytes:
        """A file of a VM's folder, read behind every host's back."""

    @abstractmethod
    async def spoil(self, datastore: str, vm: VmName, file: str, data: bytes) -> None:
        """Put other bytes of the same length into a file of a VM's folder: a rotten disk."""

    @abstractmethod
    async def disk_file(self, node: NodeName, path: str) -> bytes:
        """A file of the node's disk as it was written last, read behind the node's back."""

    @abstractmethod
    async def disk_images(self, node: NodeName) -> list[tuple[str, bytes]]:
        """Every file of the node's disk, databases excepted: as it was written last, and as a
        loss of power would leave it; read behind the node's back."""

    @abstractmethod
    async def put_disk_file(self, node: NodeName, path: str, data: bytes) -> None:
        """Put another content, durably, into a file of the disk of a node that is off: what it
        finds when a disk of another machine was built into it."""

    @abstractmethod
    async def read_named_file(self, path: str) -> bytes:
        """The content of a regular file that the Lab file names; KS-USE-003 when it cannot be
        read. A file that does not answer holds up nobody but the one who wants it."""

    @abstractmethod
    async def check_room(self, node: NodeName, *, to_copy: bool = False) -> None:
        """See, before a node is stopped, that its machine has room to start it again, and for a
        copy of its disk. ``SaveFailed`` when it has not."""

    @abstractmethod
    async def kill(self, node: NodeName) -> None: ...

    @abstractmethod
    async def respawned(self, node: NodeName) -> bool: ...

    @abstractmethod
    async def pause(self, node: NodeName) -> None: ...

    @abstractmethod
    async def resume(self, node: NodeName) -> None: ...

    @abstractmethod
    async def paused(self, node: NodeName) -> bool: ...

    # ---- looking ----------------------------------------------------------------------------

    def directory(self) -> Directory:
        if self._directory is None:
            found = directory_of(self.topology, self._specs.values())
            self._directory = msgspec.structs.replace(found, vms=tuple(self._vms))
        return self._directory

    def spec(self, node: NodeName) -> NodeSpec:
        found = self._specs.get(node)
        if found is None:
            raise NotFound(f"there is no node {node}")
        return found

    @property
    def vcenter(self) -> NodeName:
        """The vCenter that commands go to that name none."""
        return self.topology.vcenter

    def vcenter_of(self, host: NodeName) -> NodeName:
        """The vCenter of the host's cluster."""
        return NodeName(str(self.spec(host).config["vcenter"]))

    def hosts(self) -> tuple[NodeName, ...]:
        return tuple(s.node for s in self._specs.values() if s.role is Role.ESXI)

    async def nodes(self) -> tuple[NodeStatus, ...]:
        """All nodes whose agent answers, in order of the directory."""
        found = {s.node: s for r in await self.tell_all(ListNodes()) for s in r.nodes}
        self._known |= found
        return tuple(found[n] for n in self._specs if n in found)

    async def status(self, node: NodeName) -> NodeStatus:
        reply = await self.tell(node, ListNodes(node=node), LOOK_LIMIT_S)
        return self._remember_status(reply.nodes[0])

    async def statuses(self, *, counters: bool = True) -> dict[NodeName, NodeStatus]:
        async def one(group: tuple[NodeName, ...]) -> tuple[NodeStatus, ...]:
            return (await self.tell(group[0], ListNodes(counters=counters), LOOK_LIMIT_S)).nodes

        answers = await try_each(self.by_agent(self._specs), one)
        found = [
            status for nodes in answers if not isinstance(nodes, Exception) for status in nodes
        ]
        return self._sort_statuses(found, counters)

    def _sort_statuses(
        self, heard: Iterable[NodeStatus], whole: bool
    ) -> dict[NodeName, NodeStatus]:
        """Those that can be asked, in order of the directory; ``whole`` ones are remembered."""
        found = {status.node: status for status in heard}
        if whole:
            self._known |= found
        groups = self.by_agent(node for node in self._specs if node in found)
        able = {node for group in groups for node in group}
        return {node: found[node] for node in self._specs if node in able}

    def _remember_status(self, status: NodeStatus) -> NodeStatus:
        self._known[status.node] = status
        return status

    def last_status(self, node: NodeName) -> NodeStatus:
        """What the node's agent said last: as it was added, off, when it has said nothing yet."""
        spec = self.spec(node)
        blank = NodeStatus(
            node=node,
            role=spec.role,
            site=spec.site,
            cluster=spec.cluster,
            state=NodeRunState.OFF,
            boot=0,
            tpm=spec.tpm,
        )
        return self._known.get(node, blank)

    async def ask(
        self, node: NodeName, message: Request[R], *, within_s: float = 30.0, user: str = ""
    ) -> R:
        name, body = type(message).__name__, encode_message(message)
        question = Ask(node=node, name=name, body=body, within_s=within_s, user=user)
        answer = decode_answer(await self.tell(node, question, within_s + 1.0))
        if isinstance(answer, ProductError):
            raise answer
        return cast(R, answer)

    async def ask_each(
        self, nodes: Sequence[NodeName], message: Request[R], *, within_s: float = 30.0
    ) -> dict[NodeName, R | ProductError]:
        agents = self.by_agent(dict.fromkeys(nodes))
        answers = await self._looking.ask(agents, message, within_s)
        away = NotConnected("it is paused, or its process is down")
        return {node: cast(R | ProductError, answers.get(node, away)) for node in nodes}

    # ---- power ------------------------------------------------------------------------------

    async def power_on(
        self,
        node: NodeName,
        options: dict[str, str] | None = None,
        *,
        wait: bool = True,
        within_s: float = BOOT_LIMIT_S,
    ) -> NodeStatus:
        typed = await self._passphrase_options(node)
        message = PowerOn(node=node, options=typed | (options or {}), wait=wait)
        limit_s = max(within_s, self.in_lab_s(BOOT_LIMIT_REAL_S))
        reply = await self.tell(node, message, limit_s)
        await self._refuse(node, False)
        return self._remember_status(reply.status)

    async def _passphrase_options(self, node: NodeName) -> dict[str, str]:
        """Boot options that the Lab file has typed at each start of a node; KS-USE-003 when the
        file that it names is not to be used."""
        path = dict(self.topology.passphrases).get(node)
        if path is None:
            return {}
        return {PASSPHRASE_OPTION: first_line(path, await self.read_named_file(path))}

    async def power_off(self, node: NodeName, way: str) -> NodeStatus:
        """A service that is stopped or has crashed leaves a live machine: it refuses calls.

        A host that is down is a machine that is off: it is silent. Whoever pulls the power of a
        machine whose process is paused does not wait for it.
        """
        if way != "stop" and await self.paused(node):
            await self.resume(node)
        reply = await self.tell(node, PowerOff(node=node, way=way), BOOT_LIMIT_S)
        if self.spec(node).role is not Role.ESXI and way != "power_loss":
            await self._refuse(node, True)
        return self._remember_status(reply.status)

    async def _refuse(self, node: NodeName, refusing: bool) -> None:
        change = self._desired.refuse(node, refusing)
        if change is not None:
            await self.tell_all(change)

    # ---- links, and what is under the node ---------------------------------------------------

    def rules(self) -> tuple[LinkRule, ...]:
        self._desired.lapse(self.monotonic())
        return self._desired.rules

    async def put_rules(self, rules: Sequence[LinkRule]) -> None:
        for end in dict.fromkeys(end for rule in rules for end in (rule.src, rule.dst)):
            if end != CLIENT:
                self.spec(end)
        await self.tell_all(self._desired.put(rules))

    async def drop_rules(self, rule_id: str) -> None:
        await self.tell_all(self._desired.drop(rule_id))

    def next_rules(self) -> SetRules:
        """The set in force under a new epoch, for an agent that joins."""
        self._desired.lapse(self.monotonic())
        return self._desired.next()

    async def canary(
        self,
        node: NodeName,
        to: NodeName,
        *,
        within_s: float = 1.0,
        count: int = 1,
        stream: bool = False,
    ) -> CanaryResult:
        message = Canary(node=node, to=to, within_s=within_s, count=count, stream=stream)
        return await self.tell(node, message, (within_s + 1.0) * count + 10.0)

    async def tpm(self, node: NodeName, act: TpmAct, label: str = "") -> TpmActed:
        return await self.tell(node, TpmAction(node=node, act=act, label=label), 30.0)

    async def firmware(self, node: NodeName, firmware: Firmware) -> None:
        await self.tell(node, SetFirmware(node=node, firmware=firmware), 10.0)
        self._firmware[node] = firmware

    async def firmware_of(self, node: NodeName) -> Firmware:
        self.spec(node)
        return self._firmware[node]

    async def skew(self, node: NodeName, seconds: float) -> None:
        skew = self._skew[node] = SkewClock(node=node, skew_s=seconds)
        await self.tell(node, skew, 10.0)

    async def slow(self, node: NodeName, slowdown: Slowdown | None) -> None:
        slow = self._slow[node] = SlowNode(node=node, slowdown=slowdown)
        await self.tell(node, slow, 10.0)

    async def disk(self, node: NodeName, act: DiskAct, label: str) -> None:
        await self.tell(node, DiskAction(node=node, act=act, label=label), 60.0)

    async def add_node(self, spec: NodeSpec) -> None:
        """Hold a node from now on; it is off. A subclass makes its identity and process first."""
        if spec.node in self._specs and self._specs[spec.node] != spec:
            raise InvalidState(f"there is another node {spec.node}")
        new = spec.node not in self._specs
        self._specs[spec.node] = spec
        self._directory = None
        self._firmware.setdefault(spec.node, spec.firmware)
        try:
            await self.tell(spec.node, AddNode(spec=spec), 30.0)
        except ProductError:
            if new:
                del self._specs[spec.node]  # the next try adds it
                self._directory = None
            raise

    def know_vm(self, vm: VmName) -> None:
        self._vms[vm] = None
        self._directory = None

    def forget_vm(self, vm: VmName) -> None:
        self._vms.pop(vm, None)
        self._directory = None
