"""Random schedules: swarms of faults, drawn from a seed against one lab.

In each period a random part of the kinds is left out, and some periods are quiet: what suppresses
each other is seldom drawn together (swarm testing). Faults are intervals that are never shorter
than a bound, never two at once that would undo each other, and all end before the phase does.
Some are composites (``Fault.inside``), which bring about what chance seldom does: a host that boots
while what it measures has changed, all hosts in the dark while nobody can bring keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.plan import PlannedFault
from chaos.faults import FAULTS, fault_type, to_plain
from chaos.faults.base import Drawn, Fault, Targets
from chaos.lab import Directory


def kinds_drawn(drawn: Drawn) -> tuple[str, ...]:
    """The kinds of which a campaign draws so."""
    return tuple(fault.kind for fault in FAULTS if fault.drawn is drawn)


RANDOM: Final = kinds_drawn(Drawn.SWARM)
"""Kinds that are drawn unless others are named."""
RARE: Final = kinds_drawn(Drawn.RARE)
"""Kinds of which a random run has one at times: they end with their cure."""
_TRIES: Final = 4  # targets that are drawn for one interval before it is given up
_COMPOSITE: Final = 0.15  # share of the intervals that a composite fills
_CURE_S: Final = 120.0  # what the cure of a TPM takes, with its boots
_TIGHT: Final = 0.35  # share of those that hold power and begin in the middle of an operation
_TIGHT_S: Final = 0.4  # seconds after the begin of an operation in which it is under way


class Mix(msgspec.Struct, frozen=True, kw_only=True):
    """What a random schedule is drawn from; times are lab seconds, the gaps and lengths means.

    After one that holds the power of nodes they have ``boot_s`` before the next one does.
    ``omit``: how likely a kind is left out of a period of ``reshuffle_s``; ``quiet``: how likely
    a whole period is. At most ``overlap`` faults are active at once; each lasts ``least_s``.
    ``even``: whether gaps, and lengths, are all the same instead of drawn. ``rare``: whether a
    whole random run may have one of ``RARE`` besides, and nodes that go down within a call.
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
    rare: bool = False


class _Interval(msgspec.Struct, frozen=True):
    fault: Fault
    at: float
    until: float

    def meets(self, other: _Interval, apart_s: float) -> bool:
        return self.at < other.until + apart_s and other.at < self.until + apart_s


def schedule(
    mix: Mix, directory: Directory, seed: int, moments: Sequence[float] = ()
) -> tuple[PlannedFault, ...]:
    """The faults of one random schedule, in order of their begins; the same for the same values.
    At ``moments`` operations begin: faults that end lives like to come in the middle of them.

    ``ChaosError`` KS-CHAOS-014 for a kind that is none.
    """
    return _Swarm(mix, directory, seed, moments).faults()


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
    def __init__(
        self, mix: Mix, directory: Directory, seed: int, moments: Sequence[float] = ()
    ) -> None:
        self._mix, self._directory, self._seed = mix, directory, seed
        self._moments, self._tight = sorted(moments), Draws(seed, "swarm/tight")
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
                begin = self._begin(kind, at)
                self._draw(kind, begin, min(begin + lasts_s, mix.until_s), composite)
        ordered = sorted(self._drawn, key=lambda interval: (interval.at, interval.fault.id))
        return tuple(map(_plan_fault, ordered))

    @staticmethod
    def _time(draws: Draws, mean_s: float, *, even: bool) -> float:
        drawn_s = draws.exponential(mean_s)  # in any case: one setting re-times nothing else
        return mean_s if even else drawn_s

    def _begin(self, kind: str, at: float) -> float:
        """``at``, or a moment soon after in which an operation is under way: lives end there."""
        tight, later = self._tight.unit() < _TIGHT, self._tight.unit() * _TIGHT_S
        latest = self._mix.until_s - self._mix.least_s - later
        after = next((moment for moment in self._moments if at <= moment <= latest), None)
        if not tight or after is None or not self._types[kind].holds_power:
            return at
        return round(after + later, 3)

    def _draw(self, kind: str, at: float, until: float, composite: bool) -> None:
        first = self._interval(kind, at, until)
        if first is None or not (composite and self._mix.composites):
            return
        inside = [other for other in self._types[kind].inside if other in self._types]
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
            chosen = fields or type.draw_fields(stream, self._directory)
            if chosen is None:
                return None
            fault = self._make_fault(type, chosen, stream)
            made = _Interval(fault, at, until) if fault is not None else None
            if made is not None and self._fits(made):
                self._drawn.append(made)
                return made
        return None

    def _make_fault(
        self, type: type[Fault], fields: Mapping[str, Any], draws: Draws
    ) -> Fault | None:
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
        return not any(_same_power(made.fault, other.fault) for other in near) and not any(
            self._same_host(made.fault, other.fault)
            for other in self._drawn
            if made.meets(other, _CURE_S)
        )

    def _same_host(self, first: Fault, second: Fault) -> bool:
        """Whether one that only a cure undoes, or a TPM that has to be mended, would share a host
        with another: the host is booted at its end, and needed as it was."""
        if not any(one.alone or not one.reversible for one in (first, second)):
            return False
        both = set(first.touches()) & set(second.touches())
        return any(entry.node in both for entry in self._directory.nodes if entry.cluster)


def clash(first: Fault, second: Fault) -> bool:
    """Whether two faults at once would undo each other."""
    return _undo(first, second) or _same_power(first, second)


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


def _plan_fault(interval: _Interval) -> PlannedFault:
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


def count_kinds(faults: Sequence[PlannedFault]) -> dict[str, int]:
    """How often each kind stands in a schedule, in the order of the registry."""
    return {
        fault.kind: count
        for fault in FAULTS
        if (count := sum(planned.kind == fault.kind for planned in faults))
    }
