"""The lab itself: nodes, links, vCenter's events, a status; the machines that it stands on, and the
files that they join with.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Final

import msgspec

from lab.schema.answers.base import Answer, KeyRef, MachineState
from lab.schema.tables import Column, ColumnTable, field, moment
from protocol.events import EventTypeId
from protocol.messages.agent import RuleCount, ServiceTimes, Slowdown, TpmBackend
from protocol.messages.vcenter.inventory import TaskInfoState
from protocol.terms import ClusterName, NodeName, ProviderId, Role, VmName


class Node(msgspec.Struct, frozen=True, kw_only=True):
    """A node and its machine.

    While it is paused or gone, everything but ``state`` is what it said last. ``tpm`` names what
    lies under a host: ``model`` is a stand-in for the speed of the simulation. ``ended``: how the
    last life ended, and ``ended_before`` the one before this life, as far as that was seen.
    ``screen``: why it halted; ``rules``: link rules on what it sends; ``version``: of a vCenter,
    its release. ``service``: how long it works on what; ``slowdown``: what the fault ``kms.slow``
    adds to it.
    """

    node: NodeName
    role: Role
    site: str
    cluster: ClusterName
    state: MachineState
    boot: int
    screen: str = ""
    ended: str = ""
    ended_before: str = ""
    tpm: TpmBackend = TpmBackend.NONE
    counters: dict[str, int] = {}
    rules: tuple[RuleCount, ...] = ()
    version: str = ""
    service: ServiceTimes | None = None
    slowdown: Slowdown | None = None

    table = ColumnTable(
        "node",
        (field("node"), field("role"), field("site"), field("state"), field("boot")),
        wide=(field("tpm"), field("ended"), field("screen"), field("counters")),
    )


class NodeList(Answer, frozen=True, kw_only=True):
    """All nodes in order of the topology, also those whose process does not answer."""

    items: tuple[Node, ...]


class LinkState(StrEnum):
    """``faulty``: messages pass, but late, twice or not all."""

    UP = "up"
    FAULTY = "faulty"
    CUT = "cut"


class RuleOnLink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A rule on a link: ``id`` is its fault's, ``kind`` is cut, loss, delay, duplicate, reset or
    stall.

    ``share`` of the messages is lost or sent twice; each is held for ``base_s`` lab seconds and
    up to ``jitter_s`` more. What its kind does not have is left out.
    """

    kind: str
    id: str
    share: float = 0.0
    base_s: float = 0.0
    jitter_s: float = 0.0


class RuledLink(msgspec.Struct, frozen=True, kw_only=True):
    """An ordered pair of nodes, and the rules on what ``src`` sends to ``dst``."""

    src: NodeName
    dst: NodeName
    state: LinkState
    rules: tuple[RuleOnLink, ...] = ()
    link: str  # ``src->dst``

    table = ColumnTable(
        "link", (field("src", "FROM"), field("dst", "TO"), field("state"), field("rules"))
    )


class LinkList(Answer, frozen=True, kw_only=True):
    """Each link twice: once in each direction."""

    items: tuple[RuledLink, ...]


class LoggedEvent(Answer, frozen=True, kw_only=True):
    """An entry of vCenter's event log; ``at`` in Unix seconds of the lab."""

    sequence: int
    at: float
    event: EventTypeId
    text: str
    host: NodeName | None = None
    vm: VmName | None = None
    provider: ProviderId | None = None
    keys: tuple[KeyRef, ...] = ()


class EventList(Answer, frozen=True, kw_only=True):
    """Events, oldest first."""

    items: tuple[LoggedEvent, ...]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A task of vCenter (vim25 TaskInfo); times in Unix seconds of the lab.

    ``user`` gave it. ``error`` is the product's fault that it ended with, ``reason`` its text.
    """

    task: str
    name: str
    entity: str
    user: str
    state: TaskInfoState
    start_time: float
    complete_time: float | None = None
    error: str = ""
    reason: str = ""

    table = ColumnTable(
        "task",
        (
            field("task"),
            field("name"),
            field("entity"),
            field("state"),
            ("STARTED", lambda task: moment(task.start_time)),
            (
                "ENDED",
                lambda task: None if task.complete_time is None else moment(task.complete_time),
            ),
            field("error"),
        ),
        wide=(field("user"), field("reason")),
    )


class TaskList(Answer, frozen=True, kw_only=True):
    """Tasks in the order in which they began, those of vCenter's present life."""

    items: tuple[Task, ...]


class LogLine(Answer, frozen=True, kw_only=True):
    """A line of a node's log: at (lab seconds since the lab began), ``what`` happened, to whom."""

    at: float
    node: NodeName
    boot: int
    level: str
    what: str
    fields: dict[str, Any]


class VmCounts(msgspec.Struct, frozen=True, kw_only=True):
    """VMs by state, as vCenter sees them."""

    on: int
    off: int
    locked: int


class Process(msgspec.Struct, frozen=True, kw_only=True):
    """A process of the lab."""

    pid: int
    name: str


class LoopStood(msgspec.Struct, frozen=True, kw_only=True):
    """The event loop of a process has stood still for over a second, ``times`` times since it was
    started. ``process`` is ``supervisor``, or the first node of an agent; ``longest_s`` in real
    seconds, ``where`` in its code, as far as that is known."""

    process: str
    times: int
    longest_s: float
    where: str = ""


class LabClock(Answer, frozen=True, kw_only=True):
    """``time``: Unix seconds on the lab's clock; ``pace``: lab seconds in one real second."""

    time: float
    pace: float


class LabStatus(Answer, frozen=True, kw_only=True):
    """The lab in short.

    ``lab_time`` in lab seconds since it began; ``pace``: lab seconds in one real second.
    ``tpms``: hosts by what lies under them. ``vcenter`` is its machine's state, ``vms`` None while
    it does not answer. ``folder``, ``supervisor`` (a pid) and ``pids`` are those of a lab of real
    processes. ``missing`` tells of each node that does not run, and how it is instead;
    ``warnings`` are the last things that went wrong with the lab itself, ``stood`` the processes
    whose event loop has stood still.
    """

    name: str
    mode: str
    pace: float
    lab_time: float
    nodes: dict[MachineState, int]
    tpms: dict[TpmBackend, int] = {}
    faults: tuple[str, ...]
    vcenter: MachineState
    vms: VmCounts | None = None
    folder: str = ""
    supervisor: int = 0
    pids: tuple[Process, ...] = ()
    missing: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    stood: tuple[LoopStood, ...] = ()


class MachineStanding(StrEnum):
    """``here``: the supervisor's own. ``joined``: its agent answers. ``silent``: it has not
    answered the last beats, and its lease is not over. ``away``: nothing of the lab runs there."""

    HERE = "here"
    JOINED = "joined"
    SILENT = "silent"
    AWAY = "away"


def _number(name: str, title: str, unit: str, *, signed: bool = False) -> Column:
    """A column of a number that may not be known."""

    def cell(row: LabMachine) -> str | None:
        value: float | None = getattr(row, name)
        if value is None:
            return None
        return f"{value:+.3f}{unit}" if signed else f"{value:.2f}{unit}"

    return title, cell


class LabMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of a lab; what nobody has measured is None.

    ``nodes`` stand there, ``processes`` run there. ``delay_ms``: what a beat takes there and back;
    ``clock_offset_s``: how far its monotonic clock is ahead, known within ``clock_error_ms``
    (``worst_error_ms``: the largest since it joined, ``jumps``: how often the clock was found
    elsewhere); ``wall_offset_s`` the same of its time of day, which nothing of a lab goes by.
    ``load``: processes that wanted a core, averaged over a minute. ``lease_s`` in real seconds.
    ``pool``: which asked for a place for it; ``shared``: its datastores in a shared folder.
    """

    machine: str
    standing: MachineStanding
    nodes: int
    processes: int
    node_names: tuple[NodeName, ...] = ()
    pool: str = ""
    shared: tuple[str, ...] = ()
    lease_s: float | None = None
    heard_s_ago: float | None = None
    delay_ms: float | None = None
    clock_offset_s: float | None = None
    clock_error_ms: float | None = None
    worst_error_ms: float | None = None
    jumps: int = 0
    wall_offset_s: float | None = None
    load: float | None = None

    table = ColumnTable(
        "machine",
        (
            field("machine"),
            field("standing", "STATE"),
            field("nodes"),
            field("processes"),
            _number("delay_ms", "DELAY", "ms"),
            _number("clock_offset_s", "CLOCK", "s", signed=True),
            _number("clock_error_ms", "ERROR", "ms"),
            _number("load", "LOAD", ""),
        ),
        wide=(
            _number("lease_s", "LEASE", "s"),
            _number("heard_s_ago", "HEARD", "s ago"),
            _number("worst_error_ms", "WORST ERROR", "ms"),
            field("jumps"),
            ("POOL", lambda machine: machine.pool or None),
            ("SHARED", lambda machine: ", ".join(machine.shared) or None),
            _number("wall_offset_s", "TIME OF DAY", "s", signed=True),
        ),
    )


class MachineList(Answer, frozen=True, kw_only=True):
    """The machines of a lab, the supervisor's own first; ``listens`` is where others join."""

    listens: str
    items: tuple[LabMachine, ...]


class MachineBundle(Answer, frozen=True, kw_only=True):
    """A file that one machine joins with, once, until ``expires`` (Unix seconds); ``address`` is
    where it will look for the lab, ``nodes`` those whose identities are in it."""

    machine: str
    file: str
    lab: str
    address: str
    expires: float
    nodes: tuple[NodeName, ...]


class AgentTold(Answer, frozen=True, kw_only=True):
    """What the agent of a machine tells, a line each; ``at`` in Unix seconds."""

    at: float
    text: str


MACHINES: Final = (MachineBundle, AgentTold)
"""What is answered on a machine without asking a lab."""
