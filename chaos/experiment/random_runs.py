"""Whole random runs: faults drawn beside a workload that is drawn too, judged by all that judges.

At times a run has one unusual kind of fault beside its swarm, such as requests that key servers
refuse or an intruder on a host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from chaos.checks import ALWAYS
from chaos.checks.works_in_quiet import AFTER_S
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.generate import (
    RARE,
    Mix,
    clash,
    kinds_drawn,
    schedule,
)
from chaos.experiment.plan import Cue, Needs, Plan, PlannedFault
from chaos.faults import FAULTS, fault_type, to_plain
from chaos.faults.base import Drawn, Targets
from chaos.faults.host_hostile import HostHostile
from chaos.faults.links import Direction, LinkDelayFault
from chaos.faults.points import PointCrash, PointFail
from chaos.lab import Directory, NodeEntry
from chaos.points import REFUSALS, Strike, blows_at
from chaos.workload import APART, OPERATIONS, Arrival, draw_arrivals, number_arrivals
from protocol.terms import Role

CALLS: Final = {
    Role.VCENTER: ("db.commit",),
    Role.KMS: ("db.commit",),
    Role.ATTESTATION: ("db.commit",),
    Role.KEYPROVIDER: ("disk.append", "disk.sync", "disk.replace"),
    Role.ESXI: ("disk.append", "disk.sync", "disk.replace"),
}
"""Storage calls in which nodes go down, or which are refused: those after which something was
promised."""
_SHARE: Final = 0.25  # of the runs: those with an unusual kind
_MEAN_S: Final = 15.0
_INTRUDED: Final = 0.15  # of the runs: those in which an intruder controls a host
_INTRUDED_S: Final = 60.0  # mean
Schedule = tuple[PlannedFault, ...]


def unusual(mix: Mix, directory: Directory, seed: int, others: Sequence[PlannedFault]) -> Schedule:
    """The faults of one kind; mostly none."""
    draws = Draws(seed, "run/unusual")
    has, kind = draws.unit() < _SHARE, tuple(_KINDS)[draws.below(len(_KINDS))]
    if not has or mix.until_s - mix.from_s < 4 * _MEAN_S:
        return ()
    faults = _KINDS[kind](mix, directory, draws)
    return tuple(one for one in faults if not any(_meets(one, other) for other in others))


def intruder(mix: Mix, directory: Directory, seed: int, others: Sequence[PlannedFault]) -> Schedule:
    """A host that an intruder controls for a while; in most runs none."""
    draws = Draws(seed, "run/intruder")
    if draws.unit() >= _INTRUDED or mix.until_s - mix.from_s < 4 * _MEAN_S:
        return ()
    values = HostHostile.draw_fields(draws, directory)
    begin = _moment(mix, draws, 0.0, 0.7)
    if values is None:
        return ()
    faults = _interval(HostHostile.kind, mix, directory, draws, begin, values, mean_s=_INTRUDED_S)
    return tuple(one for one in faults if not any(_meets(one, other) for other in others))


def _meets(one: PlannedFault, other: PlannedFault) -> bool:
    """Whether they are there at the same time, and would undo each other."""
    apart = other.cue is None and (
        one.at >= (other.until or other.at) or other.at >= (one.until or one.at)
    )
    return not apart and one.cue is None and clash(one.fault(), other.fault())


def _interval(
    kind: str,
    mix: Mix,
    directory: Directory,
    draws: Draws,
    begin: float,
    values: Mapping[str, Any],
    *,
    mean_s: float = _MEAN_S,
) -> tuple[PlannedFault, ...]:
    type = fault_type(kind)
    until = min(round(begin + max(mix.least_s, draws.exponential(mean_s)), 3), mix.until_s)
    try:
        params = type.params.model_validate(values)
        fault = type.of(f"{kind.replace('.', '-')}-1", params, Targets(directory, draws))
    except ChaosError:  # this lab has nothing that it could act on
        return ()
    return (
        PlannedFault(
            id=fault.id,
            kind=kind,
            at=begin,
            until=until,
            cure=not fault.reversible,
            values=to_plain(fault),
            drawn=True,
        ),
    )


def _at_times(kind: str) -> Callable[[Mix, Directory, Draws], Schedule]:
    """One interval of a kind that draws its own fields."""

    def draw_interval(mix: Mix, directory: Directory, draws: Draws) -> Schedule:
        values = fault_type(kind).draw_fields(draws, directory)
        begin = _moment(mix, draws, 0.0, 0.8)
        return () if values is None else _interval(kind, mix, directory, draws, begin, values)

    return draw_interval


def _moment(mix: Mix, draws: Draws, first: float, last: float) -> float:
    """Between these parts of the time in which faults are drawn."""
    part = first + draws.unit() * (last - first)
    return round(mix.from_s + part * (mix.until_s - mix.from_s), 3)


def _draw_refusals(mix: Mix, directory: Directory, draws: Draws) -> Schedule:
    """Storage calls of up to three nodes are refused, should they be made."""
    found: list[PlannedFault] = []
    for number in range(1 + draws.below(3)):
        entry = directory.nodes[draws.below(len(directory.nodes))]
        calls = CALLS[entry.role]
        call, nth = calls[draws.below(len(calls))], 1 + draws.below(3)
        blows = [blow for blow in blows_at(call) if blow.happening in REFUSALS]
        blow = blows[draws.below(len(blows))]
        at = _moment(mix, draws, 0.0, 1.0)
        fault = PointFail(
            id=f"point-fail-{number + 1}",
            node=entry.node,
            happening=blow.happening,
            moment=blow.when,
        )
        strike = Strike(node=entry.node, call=call, blow=blow, nth=nth, start=at)
        found.append(
            PlannedFault(
                id=fault.id,
                kind=fault.kind,
                at=at,
                until=None,
                cure=False,
                values=to_plain(fault),
                drawn=True,
                cue=Cue(what=strike, lasts_s=0.0, optional=True),
            )
        )
    return tuple(found)


_KINDS: Final[Mapping[str, Callable[[Mix, Directory, Draws], Schedule]]] = {
    kind: _draw_refusals if fault_type(kind).at_point else _at_times(kind)
    for kind in kinds_drawn(Drawn.AT_TIMES)
}
UNDRAWN: Final = {fault.kind: fault.undrawn for fault in FAULTS if fault.undrawn}
"""Kinds that no random run has unless they are named, and why."""


def plus(mix: Mix, *kinds: str) -> Mix:
    """The mix with these kinds, too."""
    more = tuple(kind for kind in kinds if kind not in mix.kinds)
    return msgspec.structs.replace(mix, kinds=(*mix.kinds, *more))


LEASE_S: Final = 600.0
"""Lab seconds that a fault lasts when nobody carries its lease on: one that its heal leaves in
force is there at the end of the run."""
SHORT_LEASE_S: Final = 45.0
"""Of the faults of a run in which nobody carries leases on for a while."""
SETTLE_S: Final = 130.0
"""Lab seconds after the last heal: a reconciliation and a minute, by which all is well again."""
_RARE: Final = 0.25  # share of the runs that have a fault which only its cure undoes
_CERTIFICATES: Final = 0.6  # share of the runs with KMIP in which certificates may go wrong
_SLOW: Final = 0.12  # share of the runs in which links to hosts are slow while these are connected
_SLOW_S: Final = 30.0
_POINTS: Final = 0.3  # how likely each of two nodes goes down within a storage call
_AWAY: Final = 0.15  # share of the runs in which the controller is away for a while
_AWAY_S: Final = 100.0


class OperationStream(msgspec.Struct, frozen=True):
    """Operations ``op`` of a random run, ``rate`` of them in a lab second. ``kept``: how likely a
    run has any. ``quiet``: so many more after the last fault, when each must succeed."""

    op: str
    rate: float
    kept: float = 0.6
    quiet: int = 0


WORKLOAD: Final = (
    OperationStream("guest.challenge", 0.2, kept=1.0),
    OperationStream("key.create", 0.2, quiet=1),
    OperationStream("vm.encrypt", 0.08, quiet=1),
    OperationStream("vm.power_cycle", 0.05, quiet=1),
    OperationStream("vm.off_on", 0.03, quiet=1),
    OperationStream("esx.persistence.off_on", 0.006),
    OperationStream("vm.move", 0.04, quiet=1),
    OperationStream("vm.restart", 0.08, kept=0.4),
    OperationStream("vm.come_and_go", 0.04, quiet=1),
    OperationStream("host.reconnect", 0.05, kept=0.4),
    OperationStream("vm.migrate", 0.06, kept=0.3, quiet=1),
    OperationStream("vm.recrypt", 0.03, kept=0.25, quiet=1),
    OperationStream("vm.recrypt_deep", 0.02, kept=0.15, quiet=1),
    OperationStream("vm.unlock", 0.03, kept=0.25, quiet=1),
    OperationStream("vm.live", 0.03, kept=0.5, quiet=5),
    OperationStream("host.console", 0.01, kept=0.5, quiet=1),
    OperationStream("vsan.live", 0.0, kept=0.0, quiet=1),
    OperationStream("keyprovider.live", 0.0, kept=0.0, quiet=1),
)
"""Of a lab of four hosts and eight VMs, beside the work that their guests do by themselves."""


QUIET_GAP_S: Final = 5.0
"""Lab seconds from one operation in the quiet time of a run's end to the next."""


def random_plan(
    directory: Directory,
    seed: int,
    mix: Mix,
    *,
    workload: Sequence[OperationStream] = WORKLOAD,
    settle_s: float = SETTLE_S,
    topology: Any = None,
) -> Plan:
    """A whole run of random faults beside a workload, judged by every check that always judges."""
    arrivals = _arrivals(workload, mix.until_s, directory, seed)
    moments = [one.at for one in arrivals if one.op not in _ALONE and one.at <= mix.until_s]
    unattended = _draw_absence(mix, seed)
    return Plan(
        name=f"fuzz-{seed}",
        title=f"Random faults of seed {seed}",
        seed=seed,
        file="",
        duration_s=max(
            [mix.until_s, *(a.at + QUIET_GAP_S for a in arrivals if a.at > mix.until_s)]
        ),
        max_duration_s=mix.until_s + 3600.0,
        lease_s=SHORT_LEASE_S if unattended else LEASE_S,
        recover_s=None,
        settle_s=settle_s,
        requires=Needs(),
        topology=topology,
        faults=_faults(mix, directory, seed, moments, unattended),
        arrivals=arrivals,
        probes=(),
        checks=ALWAYS,
        unattended=unattended,
    )


_ALONE: Final = ("guest.challenge", *APART)
"""Operations that nothing else of a run is drawn for: they change none of its VMs."""
_INTERRUPTS: Final = "host.reconnect"
_UNDER_WAY_S: Final = 2.0  # seconds in which an operation has commands under way, on slow links


def _slow_span(until_s: float, seed: int) -> tuple[float, float] | None:
    """When commands to hosts are late, and hosts are connected anew meanwhile; most runs: never."""
    draws = Draws(seed, "run/slow")
    slow, where = draws.unit() < _SLOW, draws.unit()
    if not slow or until_s < 3 * _SLOW_S:
        return None
    begin = round(_SLOW_S + where * (until_s - 3 * _SLOW_S), 3)
    return begin, round(begin + _SLOW_S, 3)


def _slow_links(mix: Mix, directory: Directory, seed: int) -> tuple[PlannedFault, ...]:
    """Each command to a host is late by as much as two seconds, so that they overtake another."""
    span = _slow_span(mix.until_s, seed)
    of = {role: [e.node for e in directory.nodes if e.role is role] for role in Role}
    if span is None or not (of[Role.VCENTER] and of[Role.ESXI]):
        return ()
    fault = LinkDelayFault(
        id="slow-links",
        a=tuple(of[Role.VCENTER][:1]),
        b=tuple(of[Role.ESXI]),
        dir=Direction.TO,
        base=0.01,
        jitter=_UNDER_WAY_S,
    )
    begin, end = span
    planned = PlannedFault(
        id=fault.id,
        kind=fault.kind,
        at=begin,
        until=end,
        cure=False,
        values=to_plain(fault),
        drawn=True,
    )
    return (planned,)


def _crashes(mix: Mix, directory: Directory, seed: int) -> tuple[PlannedFault, ...]:
    """Up to two nodes go down within a storage call of theirs, should they make it."""
    draws = Draws(seed, "run/points")
    found: list[PlannedFault] = []
    for number in range(2):
        drawn, at = draws.unit() < _POINTS, mix.from_s + draws.unit() * (mix.until_s - mix.from_s)
        entry = directory.nodes[draws.below(len(directory.nodes))]
        if drawn:
            found.append(_crash(f"point-crash-{number + 1}", entry, round(at, 3), draws))
    return tuple(found)


def _crash(id: str, entry: NodeEntry, at: float, draws: Draws) -> PlannedFault:
    calls = CALLS[entry.role]
    call, nth = calls[draws.below(len(calls))], 1 + draws.below(3)
    blows = [blow for blow in blows_at(call) if blow.happening not in REFUSALS]
    blow = blows[draws.below(len(blows))]
    fault = PointCrash(id=id, node=entry.node, happening=blow.happening, moment=blow.when)
    lasts_s = round(2.0 + draws.exponential(8.0), 3)
    strike = Strike(node=entry.node, call=call, blow=blow, nth=nth, start=at)
    return PlannedFault(
        id=id,
        kind=fault.kind,
        at=at,
        until=None,
        cure=False,
        values=to_plain(fault),
        drawn=True,
        cue=Cue(what=strike, lasts_s=lasts_s, optional=True),
    )


def _faults(
    mix: Mix,
    directory: Directory,
    seed: int,
    moments: Sequence[float],
    unattended: tuple[tuple[float, float], ...],
) -> tuple[PlannedFault, ...]:
    """Those of the mix, with kinds for which the lab has what they need, and one more kind at
    times; where the controller goes away, a fault that is there then outlasts its lease."""
    draws = Draws(seed, "run/rare")
    rare, which = draws.unit() < _RARE, draws.below(len(RARE))
    if rare and mix.rare:
        mix = msgspec.structs.replace(mix, kinds=(*mix.kinds, RARE[which]))
    if mix.rare and any(entry.by_kmip for entry in directory.nodes):
        certificates = Draws(seed, "run/certificates").unit() < _CERTIFICATES
        mix = plus(mix, *(kinds_drawn(Drawn.KMIP) if certificates else ()))
    if mix.rare and directory.bus_servers > 1:
        mix = plus(mix, *kinds_drawn(Drawn.CLUSTERED_BUS))
    if mix.rare and any(entry.replication == "forward" for entry in directory.nodes):
        mix = plus(mix, *kinds_drawn(Drawn.ACTIVE_SERVER))
    faults = schedule(mix, directory, seed, moments)
    if mix.rare:
        faults += _slow_links(mix, directory, seed) + _crashes(mix, directory, seed)
        faults += unusual(mix, directory, seed, faults)
        faults += intruder(mix, directory, seed, faults)
    for begin, end in unattended:
        there = [
            f for f in faults if f.at <= begin + SHORT_LEASE_S / 2 and begin < (f.until or 0.0)
        ]
        if there:
            return _with_longer(faults, there[-1], end)
    return faults


def _with_longer(
    faults: Sequence[PlannedFault], one: PlannedFault, until: float
) -> tuple[PlannedFault, ...]:
    """``one`` lasts until then at least; those that it would undo by that are left out."""
    longer = msgspec.structs.replace(one, until=max(until, one.until or until))
    found: list[PlannedFault] = []
    for other in faults:
        meets = one.at < other.at < until
        if other is one:
            found.append(longer)
        elif not (meets and clash(one.fault(), other.fault())):
            found.append(other)
    return tuple(found)


def _draw_absence(mix: Mix, seed: int) -> tuple[tuple[float, float], ...]:
    """When the controller is away, if it is, as (from, until)."""
    draws = Draws(seed, "run/unattended")
    away, where = draws.unit() < _AWAY, draws.unit()
    room_s = mix.until_s - mix.from_s - _AWAY_S
    if not away or room_s <= 0:
        return ()
    begin = round(mix.from_s + where * room_s, 3)
    return ((begin, round(begin + _AWAY_S, 3)),)


def _arrivals(
    workload: Sequence[OperationStream], until_s: float, directory: Directory, seed: int
) -> tuple[Arrival, ...]:
    drawn: list[tuple[float, int, str, str]] = []
    for place, load in enumerate(workload):
        if Draws(seed, f"run/{load.op}").unit() >= load.kept:
            continue
        draws = Draws(seed, f"workload/{place}/{load.op}")
        targets = tuple(map(str, directory.vms)) if OPERATIONS[load.op].about == "vms" else ()
        for at, target in draw_arrivals(load.rate, (0.0, until_s), targets, draws):
            drawn.append((at, place, load.op, target))
    slow = _slow_span(until_s, seed)
    if slow is not None and directory.vms and len(workload) > 1:
        draws = Draws(seed, "run/slow/operations")
        for _ in range(6):
            at, vm = (
                slow[0] + draws.unit() * (_SLOW_S - 5.0),
                directory.vms[draws.below(len(directory.vms))],
            )
            drawn.append((round(at, 3), len(workload), "vm.power_cycle", str(vm)))
            later_s = draws.unit() * _UNDER_WAY_S
            drawn.append((round(at + later_s, 3), len(workload) + 1, _INTERRUPTS, str(vm)))
        drawn.sort()
    placed = sorted(_interrupting(drawn, until_s, seed, len(workload)))
    placed += _in_quiet(workload, until_s, directory, seed)
    return number_arrivals((at, op, target) for at, _, op, target in placed)


def _in_quiet(
    workload: Sequence[OperationStream], until_s: float, directory: Directory, seed: int
) -> Iterator[tuple[float, int, str, str]]:
    """Operations one after another, when the lab has recovered from its last fault."""
    draws, at = Draws(seed, "run/quiet"), until_s + AFTER_S
    for place, load in enumerate(workload):
        targets = tuple(map(str, directory.vms)) if OPERATIONS[load.op].about == "vms" else ("",)
        for _ in range(load.quiet if targets else 0):
            at = round(at + QUIET_GAP_S, 3)
            yield at, place, load.op, targets[draws.below(len(targets))]


def _interrupting(
    drawn: list[tuple[float, int, str, str]], until_s: float, seed: int, placed: int
) -> Iterator[tuple[float, int, str, str]]:
    """Hosts are connected anew in the middle of other operations on their VMs, mostly."""
    draws = Draws(seed, "run/interrupting")
    others = [found for found in drawn if found[3] and found[2] not in (*_ALONE, _INTERRUPTS)]
    for at, place, op, target in drawn:
        often, which, later_s = draws.unit() < 0.8, draws.unit(), draws.unit() * _UNDER_WAY_S
        if op != _INTERRUPTS or place >= placed or not often or not others:
            yield at, place, op, target
            continue
        begun, _, _, about = others[int(which * len(others))]
        yield round(min(begun + later_s, until_s), 3), place, op, about
