"""What the lab tells an agent, on the control broker that no fault touches.

One agent per OS process holds nodes: it powers them, ends them, keeps their link rules, and is
the local console of each (``Ask``). In the simulation one agent holds all nodes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar

import msgspec

from protocol.errors import ErrorBody
from protocol.messages.base import NIL, Event, Repeat, Reply, Request
from protocol.messages.host import Done
from protocol.terms import ClusterName, NodeName, Role
from protocol.tpm.structures import TpmInfo


class TpmBackend(StrEnum):
    """What lies under a host: ``model`` is for the speed of the simulation only."""

    NONE = "none"
    LIBTPMS = "libtpms"
    MODEL = "model"


class FirmwareEvent(msgspec.Struct, frozen=True):
    """An event that the next boots measure in addition: PCR, TCG event type, body."""

    pcr: int
    type: int
    body: bytes


class BootBanks(msgspec.Struct, frozen=True, kw_only=True):
    """The images on a host's boot device, each by its release, written as ``8.0U3``.

    ``release``: of the one that it boots; empty: that of its installation. ``other``: of the one
    before; empty: there is none to go back to. ``until``: the last boot of the image before this
    one. ``rolled_back``: it boots what was the other one, with the configuration there (UPG-02).
    """

    release: str = ""
    other: str = ""
    until: int = 0
    rolled_back: bool = False


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """Set-up of a host's firmware, in force from its next power-on.

    ``build``: another signed image in the boot bank that it boots; empty: the one that the host was
    installed with. ``banks``: the releases of its images.
    """

    secure_boot: bool = True
    tpm_enabled: bool = True
    version: str = "1.0"
    build: str = ""
    banks: BootBanks = BootBanks()
    extra: tuple[FirmwareEvent, ...] = ()


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
    """A node as its agent sees it. ``ended`` tells how the last life ended (WayDown value).

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


class Ask(Request["Answer"], frozen=True, kw_only=True):
    """The local console: hand ``body`` (message ``name``) to the node's own service.

    The service sees a peer with ``local`` set, and has ``within_s`` lab seconds to answer. Key
    material does not pass: ``Malformed``. ``user``: who asks, empty: the node's administrator.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    name: str
    body: msgspec.Raw
    within_s: float
    user: str = ""


class Answer(Reply, frozen=True, kw_only=True):
    """Either a reply message (``name``, and ``body`` as it is encoded) or ``error``."""

    name: str = ""
    body: msgspec.Raw = NIL
    error: ErrorBody | None = None


class AskEach(Request["Answers"], frozen=True, kw_only=True):
    """The local consoles of several nodes of this agent: the same question to each, as ``Ask``.

    ``Malformed`` for what is no read: of answers that are too many for one message the last ones
    are left out, and those nodes are asked again.
    """

    nodes: tuple[NodeName, ...]
    name: str
    body: msgspec.Raw
    within_s: float


class Answers(Reply, frozen=True, kw_only=True):
    """What the first of the nodes have answered, in their order; at least one has."""

    answers: tuple[Answer, ...]


class _OnLink(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """What rules of every kind have: ``id`` names the fault that a rule belongs to.

    ``until`` is the end of the lease (lab monotonic seconds); 0 = until taken back. ``loses`` tells
    of a kind that may keep a message from ever arriving.
    """

    loses: ClassVar[bool] = False
    id: str
    src: NodeName
    dst: NodeName
    until: float = 0.0


class CutRule(_OnLink, frozen=True, kw_only=True, tag="cut"):
    """Nothing passes, neither at the sender nor at the receiver.

    ``requests``: of these names only, and at the sender only; empty: everything.
    """

    loses: ClassVar[bool] = True
    requests: tuple[str, ...] = ()


class LossRule(_OnLink, frozen=True, kw_only=True, tag="loss"):
    """A ``share`` (0..1) of the messages is lost."""

    loses: ClassVar[bool] = True
    share: float


class DelayRule(_OnLink, frozen=True, kw_only=True, tag="delay"):
    """Each message is held for ``base_s`` lab seconds, and up to ``jitter_s`` more."""

    base_s: float
    jitter_s: float = 0.0


class DuplicateRule(_OnLink, frozen=True, kw_only=True, tag="duplicate"):
    """A ``share`` (0..1) of the messages is sent twice."""

    share: float


class ResetRule(_OnLink, frozen=True, kw_only=True, tag="reset"):
    """A connection that sends something over the link is reset; messages pass."""


class StallRule(_OnLink, frozen=True, kw_only=True, tag="stall"):
    """Handshakes of connections get no further; connections whose handshake is done go on."""


LinkRule = CutRule | LossRule | DelayRule | DuplicateRule | ResetRule | StallRule
"""One rule of one directed link."""


class SetRules(Request[Done], frozen=True, kw_only=True):
    """The whole desired set; an epoch not above the one in force is ignored.

    The rules of one link are a chain in the order given: what one lets pass, the next judges.

    ``refusing`` are nodes whose process is down on a live machine: a request to one ends in
    ``Refused`` instead of silence.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    epoch: int
    rules: tuple[LinkRule, ...]
    refusing: tuple[NodeName, ...] = ()


class Canary(Request["CanaryResult"], frozen=True, kw_only=True):
    """Send ``Ping`` from one node to another over the data bus, ``count`` times at once.

    Each has ``within_s`` lab seconds to come back; so has the answer, however many are lost.
    ``stream``: handshakes of connections instead, which no service sees.
    """

    node: NodeName
    to: NodeName
    within_s: float = 1.0
    count: int = 1
    stream: bool = False


class CanaryResult(Reply, frozen=True, kw_only=True):
    """How many came back, their round-trip times (lab s), and the last error's name."""

    answered: int
    seconds: tuple[float, ...] = ()
    error: str = ""


class TpmAct(StrEnum):
    """Commands of the lab to a TPM, never of the host."""

    INFO = "info"
    CLEAR = "clear"
    SWAP = "swap"  # the mainboard is replaced: a new TPM
    OCCUPY = "occupy"  # a key of an earlier installation in the place of the storage root key
    LOCKOUT = "lockout"  # failed tries up to the limit
    FAIL = "fail"  # NV writes fail: failure mode until the next power cycle
    UNFAIL = "unfail"
    SAVE = "save"  # keep an image of its NV under a label
    ROLLBACK = "rollback"  # put the image of that label back


class TpmAction(Request["TpmActed"], frozen=True, kw_only=True):
    """Act on the TPM under a node as its owner at the bench would; the node itself is not asked.

    ``label`` names the image that SAVE keeps and ROLLBACK puts back. ``InvalidState`` when the node
    has no TPM, or must be off for this and is on; ``NotFound`` when no image has that label.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: TpmAct
    label: str = ""


class TpmActed(Reply, frozen=True, kw_only=True):
    """``ek`` is the SHA-256 of the endorsement key's public area: another one, another TPM.

    ``srk`` is the name of the storage root key, empty when there is none: under another one, what
    was sealed before does not load. ``pcrs`` are PCR 0 to 13, and with ``srk`` and ``info`` only
    told while the TPM has power and works.
    """

    info: TpmInfo | None = None
    ek: str = ""
    pcrs: dict[int, bytes] = {}
    srk: str = ""


class SetFirmware(Request[Done], frozen=True, kw_only=True):
    """Set up the firmware of a node anew; it is in force from the next power-on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    firmware: Firmware


class SkewClock(Request[Done], frozen=True, kw_only=True):
    """Set a node's wall clock ahead by ``skew_s`` lab seconds (behind, when negative), in this
    life and the next ones; what it waits for takes as long as ever."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    skew_s: float


class HoldNode(Request[Done], frozen=True, kw_only=True):
    """Let one node of a process stand still (``held``) or go on; ``NotConnected`` when it is off.

    Nothing reaches it, nothing leaves it, and no wait of its clock ends meanwhile.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    held: bool


class DiskAct(StrEnum):
    """Make the copy of a disk under a label, put it or its databases back, drop it; wipe a disk."""

    SAVE = "save"
    RESTORE = "restore"
    RESTORE_DATABASES = "restore-databases"
    DROP = "drop"
    WIPE = "wipe"


class DiskAction(Request[Done], frozen=True, kw_only=True):
    """Keep or put back a copy of a node's disk under a label, or wipe it; the node must be off."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: DiskAct
    label: str


class NodeRecord(Event, frozen=True, kw_only=True):
    """One line of a node's log: at (lab monotonic s), level, kind, fields without secrets."""

    at: float
    node: NodeName
    boot: int
    level: str
    kind: str
    fields: dict[str, Any] = {}
