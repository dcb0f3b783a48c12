"""A staging under way: who takes part, and what everybody who plays needs, among it the messages of
the staging's data bus, kept as they travelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, Final, Protocol, TypeVar

from chaos.conversation import Said, parse_said
from chaos.draws import Draws
from chaos.history import History
from chaos.lab import REFUSALS, LabUnderTest
from chaos.matrix import clock
from chaos.matrix.evidence import Wrapped
from chaos.matrix.judging.account import Audited, KeyRequest, requests_in_trail
from chaos.matrix.terms import Actor, Boot, CellPlace, Variant, is_native, is_trusted
from chaos.observe.audit import AuditTail
from chaos.observe.guests import Guests
from chaos.observe.look import WITHIN_S
from chaos.oracle.table import Cell
from chaos.oracle.terms import Block, TableEvent, TableFault
from protocol.crypto.provider_backup import BackupContent
from protocol.messages.agent import NodeRecord
from protocol.messages.base import Reply, Request
from protocol.messages.vcenter.vms import CreateVm
from protocol.subjects import parse_link
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    NodeName,
    ProviderId,
    Role,
    VmConnectionState,
    VmName,
)


class Heard:
    """Hears every message that the broker lets in; ``now`` is in lab seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._messages: list[tuple[float, str, bytes]] = []

    def hear(self, subject: str, reply: str, payload: bytes) -> None:
        """What a tap is told (``services.runtime.world.TapCallback``)."""
        self._messages.append((self._now(), subject, payload))

    def of(self, node: NodeName, since: float, until: float = inf) -> Iterator[Said]:
        """What the node has sent and was sent in this time, oldest first. What it says to itself,
        when it has connected to the broker, is no message to anybody."""
        for at, subject, payload in self._messages:
            if not since <= at <= until:
                continue
            link = parse_link(subject)
            if link is not None and link.src != link.dst and node in (link.src, link.dst):
                yield parse_said(at, subject, payload)

    def payloads(self) -> Iterator[bytes]:
        """Every message as it travelled, oldest first."""
        return (payload for _, _, payload in self._messages)

    def holds(self, secret: bytes) -> bool:
        """Whether any message had these bytes in it."""
        return any(secret in payload for _, _, payload in self._messages)

    def count_sent_by(self, node: NodeName, since: float) -> int:
        """How many messages the node has sent to others since then."""
        return sum(1 for one in self.of(node, since) if one.src == node)


R = TypeVar("R", bound=Reply)

TRAIL_PATIENCE_REAL_S: Final = 3.0
"""Real seconds, added to ``WITHIN_S``, that a page of a trail may take where time is real."""

LOOK_S: Final = 30.0
"""Lab seconds that an answer to a look may take."""
CANARY_S: Final = 5.0
"""Lab seconds that a ping may take, on top of ``patience``."""


class Trails:
    """Audit trails of a lab's key servers, if one of them is reached by KMIP; else none is read.

    Requests over the bus are observed there. Requests under TLS are read in the audit trails, at
    the consoles of the servers: when the letters are fixed, before the end of the fault puts
    an older database in their place; and when the fault has ended, for servers that were off.

    ``began_at``: Unix time of the lab's beginning, by the clocks of nodes.
    """

    def __init__(self, lab: LabUnderTest, began_at: float) -> None:
        self._lab, self._began_at = lab, began_at
        self._tail = AuditTail(lab, within_s=WITHIN_S + lab.in_lab_s(TRAIL_PATIENCE_REAL_S))

    async def follow(self) -> None:
        """Read what is new in them."""
        if any(entry.by_kmip for entry in self._lab.directory().nodes):
            await self._tail.position()

    @property
    def unread(self) -> tuple[NodeName, ...]:
        """Servers of whose trails a part could not be read."""
        return tuple(self._tail.unread)

    def requests_by(self, by: NodeName, since: float, until: float) -> tuple[KeyRequest, ...]:
        """What this node has asked for in this time, by the servers' trails."""
        rows = zip(self._tail.of, self._tail.rows, strict=True)
        trail = [Audited(t=row.at - self._began_at, server=of, row=row) for of, row in rows]
        return tuple(
            one for one in requests_in_trail(trail) if one.by == by and since <= one.t <= until
        )


# Book -----------------------------------------------------------------------------------------
#
# The history of a staging, and which of its records show what a cell's letter rests on.


class Book:
    """Writes the history of one staging; ``trail`` gives an event its own part of it."""

    def __init__(self, history: History) -> None:
        self.history = history

    def write(self, type: str, node: str, op: str, **data: Any) -> int:
        """The ``seq`` of the new record; 0 when the history is full."""
        record = self.history.add(type, node, op=op, **data)
        return 0 if record is None else record.seq

    def trail(self, name: str) -> Trail:
        """What is written for the event called ``name``, and remembered as its evidence."""
        return Trail(self, name)


class Trail:
    """Records of one event, in order."""

    def __init__(self, book: Book, name: str) -> None:
        self._book, self.name = book, name
        self.records: list[int] = []

    def write(self, type: str, node: str, op: str, **data: Any) -> int:
        """As ``Book.write``; the record is evidence of this event from now on."""
        seq = self._book.write(type, node, op, event=self.name, **data)
        self.records.append(seq)
        return seq


DUMP: Final = "matrix"
"""The name of the encrypted dump that is written on a host."""
BACKUP: Final = "matrix"
"""The backup of P's key servers that is taken before the fault."""
P: Final = ProviderId("P")
Q: Final = ProviderId("Q")
BESIDE: Final = ProviderId("beside")
"""A standard provider beside a native P: its key servers are those that F1 takes away."""
SERVERS_OF_P: Final = (NodeName("k1"), NodeName("k2"))
"""Where P is native, of the standard provider beside it."""
SERVERS_OF_Q: Final = (NodeName("k3"),)
TA_VCENTER: Final = NodeName("ta-vcenter")
"""Where P is trusted: the vCenter that administers its Trust Authority, and does nothing else."""


class StagingBench(Protocol):
    """What a staging needs besides the commands on a lab."""

    async def new_host(self, cluster: ClusterName) -> NodeName:
        """Make a host for the cluster that nobody knows; it is off."""
        ...

    def records(self) -> Sequence[NodeRecord]:
        """Every line of the nodes' logs so far, as they came."""
        ...

    async def read_archived_keys(self, host: NodeName) -> tuple[CryptoKeyId, ...]:
        """The keys in the configuration archive of a running host, opened from outside."""
        ...

    async def read_archived_kdks(self, host: NodeName) -> tuple[ProviderId, ...]:
        """The providers of whose key derivation keys one is in that archive."""
        ...

    async def at_rest(self) -> list[tuple[str, bytes]]:
        """(path, bytes) of everything that lies on a disk or a datastore now."""
        ...

    async def disk_of(self, event: TableEvent, vm: VmName) -> bytes:
        """The VM's disk as it lies on the datastore now."""
        ...

    async def read_wrapped(self, event: TableEvent, vm: VmName) -> Wrapped:
        """The keys that the VM's files name, and its DEKs as they lie there."""
        ...

    async def flip_bit(self, event: TableEvent, vm: VmName) -> None:
        """Flip a bit of the ciphertext of the VM's first block."""
        ...

    async def replace_dek(
        self, event: TableEvent, vm: VmName, of: tuple[TableEvent, VmName]
    ) -> None:
        """Put the wrapped DEK of another VM in the place of this one's."""
        ...

    async def flip_vsan_bit(self, host: NodeName) -> None:
        """Flip a bit of the ciphertext of a replica on the vSAN disks of a host that is off."""
        ...

    async def replace_vsan_dek(self, host: NodeName) -> None:
        """Put the wrapped DEK of another disk of the host, which is off, in the place of that of
        the disk with the replica."""
        ...


class Void(Exception):
    """The play itself failed: its letters say nothing."""


@dataclass(frozen=True)
class OnVsan:
    """An object on the encrypted vSAN of a staging: blocks made of a marker that only we keep, with
    a replica on B and one on V2. ``kek`` and ``host_key``: of the cluster."""

    name: str
    marker: bytes
    kek: CryptoKeyId
    host_key: CryptoKeyId


@dataclass
class StagingScene:
    """A staging under way; see the module.

    - ``casts``: who plays what in each event.
    - ``keys``: of each encrypted VM, as vCenter had them before the fault.
    - ``judged``: the VMs that cells are about; ``clear``: those that are not encrypted.
    - ``dumped``: the marker in the dump of a host, which is kept nowhere else.
    - ``kdks``: of native providers, as their backups from before the fault have them.
    - ``cold``: VMs that are off, whose key their host must not have used, by host.
    - ``began_at``: Unix time of the lab's beginning, by the clocks of nodes.
    - ``t0``: when the fault began, in lab seconds.
    - ``first_event``: the last entry of vCenter's log before the fault.
    - ``variant``: how the fault is made.
    - ``vcenter_cut``: nobody reaches vCenter, though it runs.
    - ``evicted``: events wait until the keys of a deleted provider have left every host.
    - ``expired``: events wait until every token has expired.
    - ``patience``: lab seconds on top of a window, where messages take real time; 0 in virtual
      time.
    - ``in_turn``: lab seconds on top of that, where a host may ask several silent services one
      after the other before it answers.
    - ``late``: lab seconds by which events are later, because the fault took effect late.
    - ``alarmed``: hosts for which vCenter reports that their TPM attests something else.
    - ``twist``: what is different in a row outside the grid; ``seen_as``: the place whose cells
      that row must show; ``odd``: what was not as the row says; ``locked_as``: how a VM that lacks
      its keys shows in it; ``asleep``: hosts that are off until the fault holds; ``left_out``:
      hosts without the TPM that the provider requires in it.
    - ``provider_of_new``: what a new VM names.
    - ``on_vsan``: what lies on the encrypted vSAN, where there is one.
    - ``b_is_up``: a host has booted under the fault; events on healthy other hosts wait for it.
    """

    lab: LabUnderTest
    bench: StagingBench
    heard: Heard
    book: Book
    block: Block
    fault: TableFault
    boot: Boot
    draws: Draws
    casts: dict[TableEvent, dict[Actor, NodeName]]
    guests: Guests = field(init=False)
    trails: Trails = field(init=False)
    keys: dict[VmName, tuple[CryptoKeyId, ...]] = field(default_factory=dict)
    judged: set[VmName] = field(default_factory=set)
    clear: set[VmName] = field(default_factory=set)
    dumped: dict[NodeName, bytes] = field(default_factory=dict)
    kdks: dict[ProviderId, BackupContent] = field(default_factory=dict)
    cold: dict[VmName, NodeName] = field(default_factory=dict)
    began_at: float = 0.0
    t0: float = 0.0
    first_event: int = 0
    variant: Variant = Variant.USUAL
    vcenter_cut: bool = False
    evicted: bool = False
    expired: bool = False
    patience: float = 0.0
    in_turn: float = 0.0
    late: float = 0.0
    alarmed: frozenset[NodeName] = frozenset()
    twist: str = ""
    seen_as: CellPlace | None = None
    provider_of_new: ProviderId | None = None
    odd: str = ""
    asleep: frozenset[NodeName] = frozenset()
    left_out: frozenset[NodeName] = frozenset()
    locked_as: VmConnectionState = VmConnectionState.INVALID
    on_vsan: OnVsan | None = None
    b_is_up: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.guests = Guests(self.lab, self.draws)
        self.trails = Trails(self.lab, self.began_at)

    @property
    def vcenter(self) -> NodeName:
        """The vCenter whose hosts these are."""
        found = (e.node for e in self.lab.directory().nodes if e.role is Role.VCENTER)
        return next(node for node in found if node != TA_VCENTER)

    @property
    def begins_at(self) -> float:
        """When events are asked for, in seconds after t0."""
        if self.expired:
            return clock.EXPIRED_S + self.patience + self.late
        planned = clock.EVICTED_S if self.evicted else clock.EVENT_S
        return planned + self.patience + self.late

    def cell_of(self, event: TableEvent) -> Cell:
        """The cell that this event is compared with."""
        return (self.seen_as or CellPlace(self.block, self.fault)).cell(event)

    def hosts(self) -> tuple[NodeName, ...]:
        """Every host that is there now."""
        return tuple(e.node for e in self.lab.directory().nodes if e.role is Role.ESXI)

    def any_host(self) -> NodeName:
        """A host that nothing happens to at the beginning."""
        return self.hosts()[0]

    def host(self, event: TableEvent, actor: Actor) -> NodeName:
        """Who plays this in the event."""
        return self.casts[event][actor]

    async def find_unreachable(self) -> str:
        """Empty when vCenter reaches every key server of both providers, and every host, by pings
        that no service answers; else who does not answer."""
        for to in (*self.servers, *self.hosts()):
            within_s = CANARY_S + self.patience
            if not (await self.lab.canary(self.vcenter, to, within_s=within_s)).answered:
                return f"{to} does not answer {self.vcenter}"
        return ""

    @property
    def native(self) -> bool:
        """Whether hosts derive the keys of P and Q."""
        return is_native(self.block)

    @property
    def trusted(self) -> bool:
        """Whether hosts get the keys of P and Q at a Trust Authority."""
        return is_trusted(self.block)

    @property
    def keyed_by_use(self) -> bool:
        """Whether a host has a key only when it has used it: nobody brings it one before."""
        return self.native or self.trusted

    @property
    def attesters(self) -> tuple[NodeName, ...]:
        """The Attestation Services of a Trust Authority."""
        return self._of(Role.ATTESTATION)

    @property
    def key_services(self) -> tuple[NodeName, ...]:
        """The Key Provider Services of a Trust Authority: where the key servers' clients are."""
        return self._of(Role.KEYPROVIDER)

    @property
    def clients_of_servers(self) -> tuple[NodeName, ...]:
        """Who asks the key servers of P and Q for keys: hosts with an encrypted vSAN do, too."""
        return self.key_services if self.trusted else (self.vcenter, *self.vsan_hosts)

    @property
    def vsan_hosts(self) -> tuple[NodeName, ...]:
        """The hosts that have an encrypted vSAN together, in their order."""
        return tuple(self.casts.get(TableEvent.E12, {}).values())

    def knob(self, name: str) -> object:
        """What the lab's file sets a knob to; None when it leaves it alone."""
        return self.lab.directory().knobs.get(name)

    def _of(self, role: Role) -> tuple[NodeName, ...]:
        return tuple(e.node for e in self.lab.directory().nodes if e.role is role)

    @property
    def servers(self) -> tuple[NodeName, ...]:
        """Every key server of the lab: a native Q has none."""
        return SERVERS_OF_P if self.native else SERVERS_OF_P + SERVERS_OF_Q

    @property
    def persistent(self) -> bool:
        """Whether hosts of this block keep keys over a boot."""
        return self.block.value[2] == "1"

    def since(self) -> float:
        """Lab seconds since the fault began."""
        return self.lab.monotonic() - self.t0

    async def until(self, seconds: float) -> None:
        """Return ``seconds`` after the fault began; at once when that is over."""
        await self.lab.sleep(max(0.0, seconds - self.since()))

    async def give(self, seconds: float) -> None:
        """Wait for what others have so long to do, and the messages that it takes."""
        await self.lab.sleep(seconds + self.patience)

    async def find_answer(
        self, node: NodeName, message: Request[R], *, within_s: float = LOOK_S
    ) -> R | None:
        """What the node answers; None when it refuses, or nobody answers."""
        try:
            return await self.lab.ask(node, message, within_s=within_s)
        except REFUSALS:
            return None

    async def ask_vcenter(self, message: Request[R], *, within_s: float = clock.PREPARED_S) -> R:
        """Have vCenter do what a staging needs. Raises what it is refused with."""
        return await self.lab.ask(self.vcenter, message, within_s=within_s + self.patience)


def build_encrypted_vm(
    event: TableEvent,
    vm: VmName,
    host: NodeName,
    *,
    attempt: int | None = None,
    provider: ProviderId | None = P,
) -> CreateVm:
    """The request for a new encrypted VM in the event's cluster, under a key of ``provider`` (the
    default when None). ``attempt`` tells it from an earlier request for the same VM."""
    suffix = "" if attempt is None else f"/{attempt}"
    return CreateVm(
        operation_id=f"matrix/{vm}{suffix}",
        vm=vm,
        cluster=cluster_of(event),
        host=host,
        encrypted=True,
        provider=provider,
    )


def cluster_of(event: TableEvent) -> ClusterName:
    """The cluster in which an event is played: no other event has a host there."""
    return ClusterName(event.value.lower())


def vm_of(event: TableEvent, what: str) -> VmName:
    """A VM of an event, by what it is there for."""
    return VmName(f"{event.value.lower()}-{what}")


def event_of(vm: VmName) -> TableEvent:
    """The event that a VM of ``vm_of`` is there for."""
    return TableEvent(vm.partition("-")[0].upper())
