"""Faults of which a random run has one kind at times, beside its swarm: requests that key servers
refuse, storage calls that are refused, a host that an intruder controls.

They are drawn from streams of their own, so that they re-time nothing else of the run, and are left
out where they would undo another fault.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.generate import Mix, clash, kinds_drawn
from chaos.experiment.plan import Cue, PlannedFault
from chaos.faults import FAULTS, fault_type, to_plain
from chaos.faults.base import Drawn, Targets
from chaos.faults.host_hostile import HostHostile
from chaos.faults.points import PointFail
from chaos.lab import Directory
from chaos.points import REFUSALS, Strike, blows_at
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
