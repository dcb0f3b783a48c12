"""Random schedules: swarms of faults, drawn from a seed against one lab.

In each period a random part of the kinds is left out, and some periods are quiet: what suppresses
each other is seldom drawn together (swarm testing). Faults are intervals that are never shorter
than a bound, never two at once that would undo each other, and all end before the phase does.
Some are composites, which bring about what chance seldom does: a host that boots while what it
measures has changed, all hosts in the dark while nobody can bring keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chaos.checks import ALWAYS
from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.plan import Needs, Plan, PlannedFault
from chaos.faults import FAULTS, fault_type, to_plain
from chaos.faults.base import Fault, Targets
from chaos.lab import Directory
from chaos.workload import OPERATIONS, Arrival, draw_arrivals

RANDOM: Final = tuple(fault.kind for fault in FAULTS if fault.reversible)
"""Kinds that are drawn unless others are named: those that can be taken back."""
_TRIES: Final = 4  # targets that are drawn for one interval before it is given up
_COMPOSITE: Final = 0.15  # share of the intervals that a composite fills
_INSIDE: Final = {
    "host.boot_measure": ("host.reboot", "host.power_loss"),
    "host.tpm_disabled": ("host.reboot", "host.power_loss"),
    "link.cut": ("host.power_loss", "proc.kill"),
    "vcenter.down": ("host.power_loss", "host.reboot"),
}
"""Composites: inside an interval of the first kind, one of the others; the same hosts boot when
the first is about hosts."""


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """What a random schedule is drawn from; times are lab seconds, the gaps and lengths means.

    After one that holds the power of nodes they have ``boot_s`` before the next one does.
    ``omit``: how likely a kind is left out of a period of ``reshuffle_s``; ``quiet``: how likely
    a whole period is. At most ``overlap`` faults are active at once; each lasts ``least_s``.
    ``even``: whether gaps, and lengths, are all the same instead of drawn.
    """

    kinds: tuple[str, ...] = RANDOM
    from_s: float = 10.0
    until_s: float = 240.0
    every_s: float = 15.0
    for_s: float = 15.0
    least_s: float = 2.0
    boot_s: float = 30.0
    omit: float = 0.5
    quiet: float = 0.25
    reshuffle_s: float = 60.0
    overlap: int = 3
    even: tuple[bool, bool] = (False, False)
    composites: bool = True


class _Interval(msgspec.Struct, frozen=True):
    fault: Fault
    at: float
    until: float

    def meets(self, other: _Interval, apart_s: float) -> bool:
        return self.at < other.until + apart_s and other.at < self.until + apart_s


def schedule(mix: Mix, directory: Directory, seed: int) -> tuple[PlannedFault, ...]:
    """The faults of one random schedule, in order of their begins; the same for the same values.

    ``ChaosError`` KS-CHAOS-014 for a kind that is none.
    """
    return _Swarm(mix, directory, seed).faults()


def periods(mix: Mix, seed: int) -> tuple[tuple[str, ...], ...]:
    """The kinds that are drawn from in each period; none in a quiet one."""
    draws = Draws(seed, "swarm/periods")
    count = max(1, -int(-(mix.until_s - mix.from_s) // mix.reshuffle_s))
    found: list[tuple[str, ...]] = []
    for _ in range(count):
        quiet = draws.unit() < mix.quiet
        kept = tuple(kind for kind in mix.kinds if draws.unit() >= mix.omit)
        found.append(() if quiet else kept)
    return tuple(found)


class _Swarm:
    def __init__(self, mix: Mix, directory: Directory, seed: int) -> None:
        self._mix, self._directory, self._seed = mix, directory, seed
        self._types = {kind: fault_type(kind) for kind in mix.kinds}
        self._drawn: list[_Interval] = []
        self._number = 0

    def faults(self) -> tuple[PlannedFault, ...]:
        mix, draws = self._mix, Draws(self._seed, "swarm/times")
        kinds = periods(mix, self._seed)
        at = mix.from_s
        while True:
            at = round(at + self._time(draws, mix.every_s, even=mix.even[0]), 3)
            lasts_s = round(max(mix.least_s, self._time(draws, mix.for_s, even=mix.even[1])), 3)
            if at + mix.least_s > mix.until_s:
                break
            there = kinds[int((at - mix.from_s) // mix.reshuffle_s)]
            which, composite = draws.unit(), draws.unit() < _COMPOSITE
            if there:
                kind = there[int(which * len(there))]
                self._draw(kind, at, min(at + lasts_s, mix.until_s), composite)
        ordered = sorted(self._drawn, key=lambda interval: (interval.at, interval.fault.id))
        return tuple(map(_planned, ordered))

    @staticmethod
    def _time(draws: Draws, mean_s: float, *, even: bool) -> float:
        drawn_s = draws.exponential(mean_s)  # in any case: one setting re-times nothing else
        return mean_s if even else drawn_s

    def _draw(self, kind: str, at: float, until: float, composite: bool) -> None:
        first = self._interval(kind, at, until)
        if first is None or not (composite and self._mix.composites) or kind not in _INSIDE:
            return
        inside = [other for other in _INSIDE[kind] if other in self._types]
        begin, end = round(at + 0.5, 3), round(until - 0.5, 3)
        if inside and end - begin >= self._mix.least_s:
            second = inside[self._number % len(inside)]
            hosts = {"on": list(first.fault.touches())} if kind.startswith("host.") else None
            self._interval(second, begin, end, hosts)

    def _interval(
        self, kind: str, at: float, until: float, fields: Mapping[str, Any] | None = None
    ) -> _Interval | None:
        """One that fits among those that were drawn before, or None."""
        type, stream = self._types[kind], Draws(self._seed, f"swarm/{self._number}")
        self._number += 1
        for _ in range(1 if fields else _TRIES):
            chosen = fields or type.drawn(stream, self._directory)
            if chosen is None:
                return None
            fault = self._made(type, chosen, stream)
            made = _Interval(fault, at, until) if fault is not None else None
            if made is not None and self._fits(made):
                self._drawn.append(made)
                return made
        return None

    def _made(self, type: type[Fault], fields: Mapping[str, Any], draws: Draws) -> Fault | None:
        id = f"{re.sub('[._]', '-', type.kind)}-{self._number}"
        try:
            params = type.params.model_validate(fields)
            return type.of(id, params, Targets(self._directory, draws))
        except ChaosError:  # this lab has nothing that it could act on
            return None

    def _fits(self, made: _Interval) -> bool:
        """Whether it would undo no other, and not too many are active at once."""
        least_s = self._mix.least_s
        beside = [other for other in self._drawn if made.meets(other, least_s)]
        if len(beside) >= self._mix.overlap:
            return False
        if any(_undo(made.fault, other.fault) for other in beside):
            return False
        near = [other for other in self._drawn if made.meets(other, self._mix.boot_s)]
        return not any(_same_power(made.fault, other.fault) for other in near)


def _undo(first: Fault, second: Fault) -> bool:
    """Whether two faults at once hold the same setting, or are the same act."""
    if set(first.holds()) & set(second.holds()):
        return True
    nodes = set(first.touches()) & set(second.touches())
    return first.kind == second.kind and (bool(nodes) or not first.touches())


def _same_power(first: Fault, second: Fault) -> bool:
    """Whether both decide if the same node runs."""
    both = first.holds_power and second.holds_power
    return both and bool(set(first.touches()) & set(second.touches()))


def _planned(interval: _Interval) -> PlannedFault:
    fault = interval.fault
    return PlannedFault(
        id=fault.id,
        kind=fault.kind,
        at=interval.at,
        until=round(interval.until, 3),
        cure=not fault.reversible,
        values=to_plain(fault),
        drawn=True,
    )


def counted(faults: Sequence[PlannedFault]) -> dict[str, int]:
    """How often each kind stands in a schedule, in the order of the registry."""
    return {
        fault.kind: count
        for fault in FAULTS
        if (count := sum(planned.kind == fault.kind for planned in faults))
    }


class Stream(msgspec.Struct, frozen=True):
    """Operations ``op`` of a random run, ``rate`` of them in a lab second."""

    op: str
    rate: float


WORKLOAD: Final = (
    Stream("guest.challenge", 0.2),
    Stream("key.create", 0.15),
    Stream("vm.encrypt", 0.05),
    Stream("vm.power_cycle", 0.03),
    Stream("vm.off_on", 0.02),
    Stream("esx.persistence.off_on", 0.006),
)
"""Of a lab of four hosts and eight VMs, beside the work that their guests do by themselves."""


def random_plan(
    directory: Directory,
    seed: int,
    mix: Mix,
    *,
    workload: Sequence[Stream] = WORKLOAD,
    settle_s: float = 60.0,
    topology: Any = None,
) -> Plan:
    """A whole run of random faults beside a workload, judged by every check that always judges."""
    return Plan(
        name=f"fuzz-{seed}",
        title=f"Random faults of seed {seed}",
        seed=seed,
        file="",
        duration_s=mix.until_s,
        max_duration_s=mix.until_s + 3600.0,
        lease_s=120.0,
        recover_s=None,
        settle_s=settle_s,
        requires=Needs(),
        topology=topology,
        faults=schedule(mix, directory, seed),
        arrivals=_arrivals(workload, mix.until_s, directory, seed),
        probes=(),
        checks=ALWAYS,
    )


def _arrivals(
    workload: Sequence[Stream], until_s: float, directory: Directory, seed: int
) -> tuple[Arrival, ...]:
    drawn: list[tuple[float, int, str, str]] = []
    for place, load in enumerate(workload):
        draws = Draws(seed, f"workload/{place}/{load.op}")
        targets = tuple(map(str, directory.vms)) if OPERATIONS[load.op].about == "vms" else ()
        for at, target in draw_arrivals(load.rate, (0.0, until_s), targets, draws):
            drawn.append((at, place, load.op, target))
    return tuple(
        Arrival(at=at, op=op, target=target, number=number)
        for number, (at, _, op, target) in enumerate(sorted(drawn), start=1)
    )
