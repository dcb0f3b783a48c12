"""What the lab sends to an agent, on the control broker that no fault touches.

One agent per OS process holds nodes: it powers them on and off, ends them, keeps their link rules,
acts on what is below them (TPM, firmware, disk, clock), slows them (service times), and is the
local console of each (``Ask``).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, ClassVar, Final

import msgspec

from protocol.errors import ErrorBody
from protocol.messages.base import NIL, Event, Repeat, Reply, Request
from protocol.messages.host.session import Done
from protocol.terms import ClusterName, NodeName, Role
from protocol.tpm.structures import TpmInfo

WAKEUP: Final = "wakeup"
"""The class of what the next piece of work of an idle process takes longer, in the simulation."""

COLD: Final = "cold"
"""The class of what it takes longer on top when the process was idle for 20 ms; less in proportion
when it was idle for a shorter time."""


class Distribution(StrEnum):
    """How service times scatter around their mean."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"
    LOGNORMAL = "lognormal"


class ServiceTime(msgspec.Struct, frozen=True, kw_only=True):
    """The time that one piece of work takes, in lab seconds.

    ``each_s`` is added for every entry of the longest list of the message, such as each key of a
    ``GetKeys``. ``spread`` is the coefficient of variation of ``lognormal``: standard deviation
    divided by mean.
    """

    mean_s: float
    distribution: Distribution = Distribution.CONSTANT
    each_s: float = 0.0
    spread: float = 1.0


class ServiceTimes(msgspec.Struct, frozen=True, kw_only=True):
    """The service times of a node, by class of work; what has none takes no time.

    Classes: a request that the node serves (``CreateKey``), the reply to a request that it sent
    (``CreateKey.reply``), ``*`` and ``*.reply`` for those without an entry, and in the simulation
    calls of storage (``disk.sync``, ``db.transact``) and TPM (``tpm.unseal``), and in the
    simulation ``wakeup`` and ``cold``. ``cores``: so many pieces of work at a time.
    """

    cores: int = 1
    times: dict[str, ServiceTime] = {}


class SharedMachine(msgspec.Struct, frozen=True, kw_only=True):
    """One machine whose ``cores`` all processes of a simulated lab share (decision 107).

    A process that was idle waits ``delay`` for a core. A share ``after`` of what waking up takes
    holds nothing up. ``bus`` is the broker, which works on every message (class ``*``); ``client``
    is the process from which the lab is commanded, together with the control plane (``Ask``,
    ``Ask.reply``).
    """

    cores: int
    delay: ServiceTime | None = None
    after: float = 0.0
    bus: ServiceTimes = ServiceTimes()
    client: ServiceTimes = ServiceTimes()


class Slowdown(msgspec.Struct, frozen=True, kw_only=True):
    """A slower node: a ``share`` of its requests takes ``factor`` times its service time, and
    ``extra`` on top."""

    factor: float = 1.0
    extra: ServiceTime | None = None
    share: float = 1.0


class SlowNode(Request[Done], frozen=True, kw_only=True):
    """Slow a node down, in this life and later ones; None ends that. Requests that are queued
    already keep the time that was drawn for them."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    slowdown: Slowdown | None


class TpmBackend(StrEnum):
    """The TPM implementation of a host: ``model`` exists for the speed of the simulation."""

    NONE = "none"
    LIBTPMS = "libtpms"
    MODEL = "model"


class FirmwareEvent(msgspec.Struct, frozen=True):
    """An event that the next boots also measure: PCR, TCG event type, body."""

    pcr: int
    type: int
    body: bytes


class BootBanks(msgspec.Struct, frozen=True, kw_only=True):
    """The images on a host's boot device, each by its release, written as ``8.0U3``.

    ``release``: the image that it boots; empty: that of its installation. ``other``: the image
    before; empty: there is none to roll back to. ``until``: the last boot of the image before this
    one. ``rolled_back``: it boots what was the other image, with the configuration there (UPG-02).
    """

    release: str = ""
    other: str = ""
    until: int = 0
    rolled_back: bool = False


class Firmware(msgspec.Struct, frozen=True, kw_only=True):
    """The set-up of a host's firmware, in force from its next power-on.

    ``build``: another signed image in the boot bank that it boots; empty: the installed one.
    ``banks``: the releases of its images.
    """

    secure_boot: bool = True
    tpm_enabled: bool = True
    version: str = "1.0"
    build: str = ""
    banks: BootBanks = BootBanks()
    extra: tuple[FirmwareEvent, ...] = ()


class TpmAct(StrEnum):
    """Commands of the lab to a TPM; a host never sends them."""

    INFO = "info"
    CLEAR = "clear"
    SWAP = "swap"  # the mainboard is replaced: a new TPM
    OCCUPY = "occupy"  # another key is persisted in place of the storage root key
    LOCKOUT = "lockout"  # failed tries up to the limit
    FAIL = "fail"  # NV writes fail: failure mode until the next power cycle
    UNFAIL = "unfail"
    SAVE = "save"  # keep an image of its NV under a label
    ROLLBACK = "rollback"  # restore the image of that label


class TpmAction(Request["TpmActed"], frozen=True, kw_only=True):
    """Act on the TPM under a node, as its owner would at the bench, without the node.

    ``label`` names the image that SAVE keeps and ROLLBACK restores. ``InvalidState`` when the node
    has no TPM, or is on and must be off for this; ``NotFound`` when no image has that label.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: TpmAct
    label: str = ""


class TpmActed(Reply, frozen=True, kw_only=True):
    """``ek`` is the SHA-256 of the endorsement key's public area: another value is another TPM.

    ``srk`` is the name of the storage root key, empty when there is none; what was sealed under
    another one does not load. ``pcrs`` are PCR 0 to 13. ``pcrs``, ``srk`` and ``info`` are only set
    while the TPM has power and works.
    """

    info: TpmInfo | None = None
    ek: str = ""
    pcrs: dict[int, bytes] = {}
    srk: str = ""


class SetFirmware(Request[Done], frozen=True, kw_only=True):
    """Change the set-up of a node's firmware, in force from the next power-on."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    firmware: Firmware


class SkewClock(Request[Done], frozen=True, kw_only=True):
    """Set a node's wall clock ahead by ``skew_s`` lab seconds (behind, when negative), in this life
    and later ones. Waits are not affected."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    skew_s: float


class DiskAct(StrEnum):
    """Copy a disk under a label; restore the copy or only its databases; delete the copy; wipe the
    disk; check whether the machine has room to start from a copy, and to make one."""

    SAVE = "save"
    RESTORE = "restore"
    RESTORE_DATABASES = "restore-databases"
    DROP = "drop"
    WIPE = "wipe"
    ROOM = "room"
    ROOM_TO_COPY = "room-to-copy"


class DiskAction(Request[Done], frozen=True, kw_only=True):
    """Act on a node's disk, or on the copy under ``label``. The node must be off, except for the
    check of room."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    act: DiskAct
    label: str


class Ask(Request["Answer"], frozen=True, kw_only=True):
    """The local console: pass ``body`` (message ``name``) to the node's own service.

    The service sees a peer with ``local`` set, and has ``within_s`` lab seconds to answer. Key
    material is refused with ``Malformed``. ``user``: who asks; empty: the node's administrator.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    node: NodeName
    name: str
    body: msgspec.Raw
    within_s: float
    user: str = ""


class Answer(Reply, frozen=True, kw_only=True):
    """Either a reply message (``name``, and its encoded ``body``) or ``error``."""

    name: str = ""
    body: msgspec.Raw = NIL
    error: ErrorBody | None = None


class AskEach(Request["Answers"], frozen=True, kw_only=True):
    """The local consoles of several nodes of this agent: the same question to each, as ``Ask``.

    ``Malformed`` for a message that does more than read. If the answers are too many for one
    message, the last ones are left out, and the caller asks those nodes again.
    """

    nodes: tuple[NodeName, ...]
    name: str
    body: msgspec.Raw
    within_s: float


class Answers(Reply, frozen=True, kw_only=True):
    """The answers of the first nodes, in their order; at least one."""

    answers: tuple[Answer, ...]


class _OnLink(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    """The fields of every rule: ``id`` names the fault that a rule belongs to.

    ``until`` is the end of the lease (lab monotonic seconds); 0 = until withdrawn. ``loses``:
    whether rules of this kind may lose a message.
    """

    loses: ClassVar[bool] = False
    id: str
    src: NodeName
    dst: NodeName
    until: float = 0.0


class CutRule(_OnLink, frozen=True, kw_only=True, tag="cut"):
    """Nothing passes, neither at the sender nor at the receiver.

    ``requests``: only requests of these names, and only at the sender; empty: everything.
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
    """A connection that sends over the link is reset; messages pass."""


class StallRule(_OnLink, frozen=True, kw_only=True, tag="stall"):
    """Handshakes of connections do not progress; connections with a finished handshake continue."""


LinkRule = CutRule | LossRule | DelayRule | DuplicateRule | ResetRule | StallRule
"""One rule of one directed link."""


class SetRules(Request[Done], frozen=True, kw_only=True):
    """The whole desired set of rules. An epoch that is not above the one in force is ignored.

    The rules of one link form a chain in the given order: each judges what the one before lets
    pass.

    ``refusing`` are nodes whose process is down on a live machine: a request to one ends in
    ``Refused`` instead of silence.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    epoch: int
    rules: tuple[LinkRule, ...]
    refusing: tuple[NodeName, ...] = ()


class Canary(Request["CanaryResult"], frozen=True, kw_only=True):
    """Send ``Ping`` from one node to another over the data bus, ``count`` times at once.

    Each has ``within_s`` lab seconds to return, and so has the answer, however many are lost.
    ``stream``: TLS handshakes instead, below the service.
    """

    node: NodeName
    to: NodeName
    within_s: float = 1.0
    count: int = 1
    stream: bool = False


class CanaryResult(Reply, frozen=True, kw_only=True):
    """How many returned, their round-trip times (lab s), and the name of the last error."""

    answered: int
    seconds: tuple[float, ...] = ()
    error: str = ""


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
