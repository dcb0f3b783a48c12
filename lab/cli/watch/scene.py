"""What `keystead watch` shows: hosts and VMs by state, faults, events, keys.

``ask`` requests from a lab all that a scene is made of; the rest is pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from fnmatch import fnmatch
from typing import Final

from chaos.report.phases import bands
from chaos.report.shapes import moment
from chaos.report.story import Lane, Story
from chaos.report.timeline import SIGNS
from lab.schema.answers import (
    ActiveFault,
    Host,
    LabStatus,
    LoggedEvent,
    Node,
    Vm,
)
from lab.schema.answers.base import MachineState
from lab.schema.commands import GetEvents, GetFaults, GetHosts, GetNodes, GetStatus, GetVms
from lab.schema.errors import KeysteadError
from lab.schema.tables import moment as utc
from lab.serve.waiting import Do
from protocol.terms import (
    HostConnectionState,
    HostCryptoState,
    PowerState,
    Role,
    VmConnectionState,
    VmCryptoState,
)


class StateLevel(IntEnum):
    """How bad a state is."""

    BAD = 0
    ODD = 1
    IDLE = 2
    GOOD = 3


_SIGN: Final = {
    StateLevel.BAD: "!",
    StateLevel.ODD: "?",
    StateLevel.IDLE: "-",
    StateLevel.GOOD: "+",
}


@dataclass(frozen=True)
class Tile:
    """A node or a VM: its ``state`` in a word, ``why`` that is not as it should be. ``kind`` is
    ``host``, ``vm`` or ``server``."""

    name: str
    state: str
    level: StateLevel
    why: str = ""
    kind: str = "server"

    @property
    def sign(self) -> str:
        """The sign of its state."""
        return SIGNS.get(self.state, _SIGN[self.level])


@dataclass(frozen=True)
class FaultLine:
    """A fault in force; ``left``: until it heals itself, empty: it stays until it is healed.
    ``until``: the lab time of that, where it is known."""

    id: str
    text: str
    left: str
    until: float = 0.0


@dataclass(frozen=True)
class KeyCount:
    """Keys in the memory of hosts; ``kept``: of them on hosts whose TPM keeps them over a reboot;
    ``missing``: such as a VM waits for."""

    memory: int
    kept: int
    missing: int


@dataclass(frozen=True)
class LabView:
    """A moment of a lab. ``notice``: what cannot be seen now, and why."""

    title: str
    servers: tuple[Tile, ...] = ()
    hosts: tuple[Tile, ...] = ()
    vms: tuple[Tile, ...] = ()
    faults: tuple[FaultLine, ...] = ()
    events: tuple[str, ...] = ()
    keys: KeyCount | None = None
    notice: str = ""

    @property
    def problems(self) -> tuple[Tile, ...]:
        """Servers, hosts and VMs that are not as they should be, the worst first."""
        found = (*self.servers, *self.hosts, *self.vms)
        return by_level(tile for tile in found if tile.level <= StateLevel.ODD)

    def summary(self) -> tuple[str, ...]:
        """How many hosts and VMs are in each state, and how many keys there are."""
        parts = [
            f"{len(tiles)} {what}: {_count(tiles)}"
            for what, tiles in (("hosts", self.hosts), ("VMs", self.vms))
            if tiles
        ]
        lines = ["; ".join(parts)]
        if (keys := self.keys) is not None:
            told = f"keys: {keys.memory} in memory, {keys.kept} of them kept by a TPM"
            lines.append(f"{told}, {keys.missing} missing")
        return tuple(lines)

    def select(self, kinds: str, patterns: Sequence[str]) -> LabView:
        """Only ``hosts``, ``vms`` or ``problems``, and of them those whose name is like one of
        ``patterns``; ``all`` and no pattern: everything."""

        def some(tiles: tuple[Tile, ...]) -> tuple[Tile, ...]:
            named = [
                tile
                for tile in tiles
                if not patterns or any(fnmatch(tile.name, f"*{one}*") for one in patterns)
            ]
            return tuple(t for t in named if kinds != "problems" or t.level <= StateLevel.ODD)

        return replace(
            self,
            servers=some(self.servers) if kinds != "vms" else (),
            hosts=some(self.hosts) if kinds != "vms" else (),
            vms=some(self.vms) if kinds != "hosts" else (),
        )


def by_level(tiles: Iterable[Tile]) -> tuple[Tile, ...]:
    """The worst first; of the same level in the order given."""
    return tuple(sorted(tiles, key=lambda tile: tile.level))


def _count(tiles: Iterable[Tile]) -> str:
    counts = Counter(tile.state for tile in tiles)
    return ", ".join(f"{count} {state}" for state, count in counts.most_common())


@dataclass(frozen=True)
class LabAnswers:
    """What a lab has answered; hosts and VMs are those of the last time that vCenter did."""

    status: LabStatus
    nodes: Sequence[Node]
    hosts: Sequence[Host] = ()
    vms: Sequence[Vm] = ()
    faults: Sequence[ActiveFault] = ()
    events: Sequence[LoggedEvent] = ()
    away: str = ""  # why vCenter does not answer now


def scene_of_lab(seen: LabAnswers) -> LabView:
    """The scene of a running lab."""
    status = seen.status
    hosts = {host.host: host for host in seen.hosts}
    return LabView(
        title=f"lab {status.name}  {moment(status.lab_time)}  pace {status.pace:g}",
        servers=tuple(_server(node) for node in seen.nodes if node.role is not Role.ESXI),
        hosts=tuple(
            _host(node, hosts.get(node.node)) for node in seen.nodes if node.role is Role.ESXI
        ),
        vms=tuple(_vm(vm) for vm in seen.vms),
        faults=tuple(
            FaultLine(
                one.id,
                f"{one.summary}{f': {one.cure}' if one.cure else ''}",
                f"{moment(max(one.until - status.lab_time, 0))} left" if one.until else "",
                one.until,
            )
            for one in seen.faults
        ),
        events=tuple(f"{utc(one.at)[11:19]}  {one.text}" for one in seen.events),
        keys=KeyCount(
            memory=sum(host.cached_keys for host in seen.hosts),
            kept=sum(host.cached_keys for host in seen.hosts if host.key_persistence),
            missing=sum(len(vm.missing) for vm in seen.vms),
        ),
        notice=f"vCenter does not answer, and is shown as it was: {seen.away}" if seen.away else "",
    )


def _server(node: Node) -> Tile:
    level, kind = _machine_level(node.state), "host" if node.role is Role.ESXI else "server"
    return Tile(node.node, node.state.value, level, node.screen, kind)


def _machine_level(state: MachineState) -> StateLevel:
    if state is MachineState.RUNNING:
        return StateLevel.GOOD
    return StateLevel.ODD if state is MachineState.BOOTING else StateLevel.BAD


def _host(node: Node, host: Host | None) -> Tile:
    if node.state is not MachineState.RUNNING or host is None:
        return _server(node)
    state = str(host.crypto_state.value if host.crypto_state else "running")
    name = node.node
    if host.connection is not HostConnectionState.CONNECTED:
        return Tile(
            name, host.connection.value, StateLevel.BAD, f"vCenter has it as {state}", "host"
        )
    if host.in_maintenance_mode:
        return Tile(name, "maintenance", StateLevel.IDLE, kind="host")
    if host.alarms and host.crypto_state is not HostCryptoState.SAFE:
        return Tile(name, state, StateLevel.ODD, ", ".join(host.alarms), "host")
    lacks = host.crypto_state is HostCryptoState.PREPARED and host.crypto_key_id is not None
    why = "its host key is not there" if lacks else ""
    good = host.crypto_state is HostCryptoState.SAFE
    level = StateLevel.ODD if lacks else StateLevel.GOOD if good else StateLevel.IDLE
    return Tile(name, state, level, why, "host")


def _vm(vm: Vm) -> Tile:
    missing = f"{len(vm.missing)} missing" if vm.missing else ""
    where = f"on {vm.host}"
    if vm.crypto is VmCryptoState.LOCKED:
        keys = f"{missing} key{'s' if len(vm.missing) > 1 else ''}" if missing else ""
        return Tile(vm.vm, "locked", StateLevel.BAD, f"{where}, {keys}" if keys else where, "vm")
    if vm.connection is not VmConnectionState.CONNECTED:
        return Tile(vm.vm, vm.connection.value, StateLevel.BAD, where, "vm")
    if vm.stale:
        return Tile(vm.vm, "stale", StateLevel.ODD, f"{where}, which does not answer vCenter", "vm")
    if vm.power is PowerState.ON:
        return Tile(vm.vm, "running", StateLevel.GOOD, kind="vm")
    return Tile(vm.vm, "off", StateLevel.IDLE, kind="vm")


# Stored runs --------------------------------------------------------------------------------

_OF_RUN: Final = {
    "safe": StateLevel.GOOD,
    "running": StateLevel.GOOD,
    "incapable": StateLevel.IDLE,
    "unknown": StateLevel.IDLE,
    "prepared": StateLevel.ODD,
    "booting": StateLevel.ODD,
    "pendingIncapable": StateLevel.ODD,
    "off": StateLevel.ODD,
}
"""States of lanes; every other one is bad."""
_TOLD: Final = ("fault", "heal", "fail", "probe")
EVENTS: Final = 50  # of a scene at the most


def scene_of_run(story: Story, t: float) -> LabView:
    """The scene of a stored run, ``t`` seconds after its begin."""
    told = [record for record in story.records if record.t <= t and record.type in _TOLD]
    ended = f" of {moment(story.seconds)}  {story.word.upper()}"
    return LabView(
        title=f"run {story.run}  {moment(t)}{ended}",
        hosts=tuple(_lane(lane, t) for lane in story.lanes if not lane.vm),
        vms=tuple(_lane(lane, t) for lane in story.lanes if lane.vm),
        faults=tuple(
            FaultLine(
                band.id,
                band.summary,
                "" if band.ended is None else f"ends in {moment(band.ended - t)}",
            )
            for band in bands(story.records)
            if band.covers(t)
        ),
        events=tuple(
            f"{moment(record.t)}  {record.type} {record.op} {record.node}".rstrip()
            for record in told[-EVENTS:]
        ),
    )


def _lane(lane: Lane, t: float) -> Tile:
    states = next((s.states for s in reversed(lane.actual) if s.begin <= t), ("unknown",))
    state = states[0]
    where = f"on {lane.host}" if lane.vm else ""
    kind = "vm" if lane.vm else "host"
    return Tile(lane.name, state, _OF_RUN.get(state, StateLevel.BAD), where, kind)


def moments(story: Story) -> tuple[float, ...]:
    """The times at which something changes, with the begin and the end of the run."""
    found = {0.0, story.seconds}
    for lane in story.lanes:
        found |= {segment.begin for segment in lane.actual}
    for band in bands(story.records):
        found |= {band.began} | ({band.ended} if band.ended is not None else set())
    return tuple(sorted(found))


_AWAY: Final = ("KS-PRODUCT-001", "KS-USE-002")  # what a silent vCenter answers


async def ask(do: Do, before: LabAnswers | None) -> LabAnswers:
    """All that a scene is made of. What vCenter does not answer now is taken from ``before``."""
    status, nodes, faults = await do(GetStatus()), await do(GetNodes()), await do(GetFaults())
    made = LabAnswers(status, nodes.items, faults=faults.items)
    last = before.events[-1].sequence if before is not None and before.events else 0
    try:
        hosts, vms = await do(GetHosts()), await do(GetVms())
        events = list(before.events if before is not None else ())
        while news := (await do(GetEvents(after=last))).items:
            events = [*events, *news][-EVENTS:]
            last = news[-1].sequence
        return replace(made, hosts=hosts.items, vms=vms.items, events=events)
    except KeysteadError as error:
        if error.id not in _AWAY:
            raise
        old = before or made
        return replace(made, hosts=old.hosts, vms=old.vms, events=old.events, away=str(error))
