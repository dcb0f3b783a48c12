"""From a run that fails to a small one that fails in the same way.

Steps, each as far as it goes before the next: fewer fault intervals, actions and operations,
shorter and rounder times, narrower targets, a calmer order. A candidate is kept when it still
``fails``; what that means is the caller's: the same check, with the same class of subject. The best
one so far is always had, whenever the budget of runs is spent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from chaos.draws import Draws
from chaos.errors import ChaosError
from chaos.experiment.plan import Begun, Cue, Ended, Plan, PlannedAction, PlannedFault
from chaos.faults import fault_type, to_plain
from chaos.faults.base import Targets
from chaos.lab import Directory
from chaos.workload import Arrival, number_arrivals

T = TypeVar("T")
Cued = TypeVar("Cued", PlannedFault, PlannedAction)

TAIL_S: Final = 5.0  # lab seconds that a fault phase goes on after its last fault and operation
_FIFO: Final = "fifo"


class Spent(Exception):
    """No run is left."""


@dataclass
class Shrinker:
    """``fails`` plays a plan and says whether it fails in the wanted way; it is called at most
    ``budget`` times. ``directory`` is the lab that the plans are made for."""

    fails: Callable[[Plan], bool]
    directory: Directory
    budget: int = 200
    told: Callable[[str], None] = lambda text: None
    runs: int = 0
    best: Plan = field(init=False)

    def shrink(self, plan: Plan) -> Plan:
        """The smallest plan that was found to fail; ``plan`` itself is known to."""
        self.best = plan
        try:
            while self._pass():
                pass
        except Spent:
            self.told(f"after {self.runs} runs: {size(self.best)}")
        return self.best

    def _pass(self) -> bool:
        """Every step once; whether any of them has made it smaller."""
        before = self.best
        for step in (
            self._faults,
            self._actions,
            self._arrivals,
            self._times,
            self._targets,
            self._order,
        ):
            step()
            self.told(f"{step.__name__.lstrip('_')}: {size(self.best)}, {self.runs} runs")
        return self.best != before

    def _try(self, candidate: Plan) -> bool:
        """Keep the candidate when it fails too."""
        if candidate == self.best:
            return False
        if self.runs >= self.budget:
            raise Spent
        self.runs += 1
        if self.fails(candidate):
            self.best = candidate
            return True
        return False

    # ---- the steps ----------------------------------------------------------------------------

    def _faults(self) -> None:
        if self.best.unattended:
            self._try(msgspec.structs.replace(self.best, unattended=()))

        def tried(kept: Sequence[PlannedFault]) -> bool:
            return self._try(
                _free_from_cues(msgspec.structs.replace(self.best, faults=tuple(kept)))
            )

        reduce_items(self.best.faults, tried)

    def _actions(self) -> None:
        def tried(kept: Sequence[PlannedAction]) -> bool:
            return self._try(
                _free_from_cues(msgspec.structs.replace(self.best, actions=tuple(kept)))
            )

        reduce_items(self.best.actions, tried)

    def _arrivals(self) -> None:
        def tried(kept: Sequence[Arrival]) -> bool:
            return self._try(msgspec.structs.replace(self.best, arrivals=renumber(kept)))

        for op in dict.fromkeys(arrival.op for arrival in self.best.arrivals):
            tried([arrival for arrival in self.best.arrivals if arrival.op != op])
        reduce_items(self.best.arrivals, tried)

    def _times(self) -> None:
        for earlier in _earlier(self.best):
            self._try(earlier)
        for place in range(len(self.best.faults)):
            for shorter in _shorter(self.best.faults[place]):
                if self._try(_with(self.best, place, shorter)):
                    break
        for rounded in _round_times(self.best):
            self._try(rounded)

    def _targets(self) -> None:
        for place in range(len(self.best.faults)):
            while any(
                self._try(_with(self.best, place, narrower))
                for narrower in _narrower(self.best.faults[place], self.directory)
            ):
                pass

    def _order(self) -> None:
        if self.best.order != _FIFO:
            self._try(msgspec.structs.replace(self.best, order=_FIFO))


def size(plan: Plan) -> str:
    """How large a plan is, for people."""
    operations = len(plan.arrivals) + len(plan.actions)
    return f"{len(plan.faults)} faults, {operations} operations, {plan.duration_s:g} s"


def reduce_items(items: Sequence[T], tried: Callable[[Sequence[T]], bool]) -> Sequence[T]:
    """Delta debugging: the fewest of ``items``, in their order, for which ``tried`` was true.

    None at all is tried first, then each part alone, then all but one part, in ever finer parts.
    """
    kept = list(items)
    if not kept or tried([]):
        return [] if kept else kept
    parts = 2
    while len(kept) > 1:
        length = -(-len(kept) // parts)
        starts = range(0, len(kept), length)
        alone = [kept[start : start + length] for start in starts]
        others = [kept[:start] + kept[start + length :] for start in starts]
        found = next((part for part in alone if tried(part)), None)
        if found is not None:
            kept, parts = list(found), 2
            continue
        found = next((rest for rest in others if rest and tried(rest)), None) if parts > 2 else None
        if found is not None:
            kept, parts = list(found), max(parts - 1, 2)
        elif length == 1:
            break
        else:
            parts = min(len(kept), parts * 2)
    return kept


def renumber(arrivals: Sequence[Arrival]) -> tuple[Arrival, ...]:
    """Arrivals in order with the numbers that a file with just them would give."""
    ordered = sorted(arrivals, key=lambda arrival: arrival.at)
    return number_arrivals((one.at, one.op, one.target) for one in ordered)


def _free_from_cues(plan: Plan) -> Plan:
    """Entries that came after one that is gone begin at the time at which that was planned; probes
    that followed it are gone too."""
    there = {planned.id for planned in plan.entries()}

    def known(cue: Cue | None) -> bool:
        return cue is None or not isinstance(cue.what, Begun | Ended) or cue.what.of in there

    def free(cued: Cued) -> Cued:
        cue = cued.cue
        if cue is None or known(cue):
            return cued
        if isinstance(cued, PlannedAction) or cue.lasts_s is None:
            return msgspec.structs.replace(cued, cue=None)
        until = round(cued.at + cue.lasts_s, 6)
        return msgspec.structs.replace(cued, cue=None, until=until)

    return msgspec.structs.replace(
        plan,
        faults=tuple(map(free, plan.faults)),
        actions=tuple(map(free, plan.actions)),
        probes=tuple([probe for probe in plan.probes if known(probe.cue)]),
    )


def _with(plan: Plan, place: int, fault: PlannedFault) -> Plan:
    faults = list(plan.faults)
    faults[place] = fault
    return msgspec.structs.replace(plan, faults=tuple(sorted(faults, key=lambda f: f.at)))


# ---- times ---------------------------------------------------------------------------------------


def _end(plan: Plan) -> float:
    """When the last fault has ended and the last operation begun."""
    ends = [fault.at if fault.until is None else fault.until for fault in plan.faults]
    ends += [span[1] for span in plan.unattended]
    begins = [action.at for action in plan.actions] + [arrival.at for arrival in plan.arrivals]
    return max([*ends, *begins], default=0.0)


def _earlier(plan: Plan) -> Iterator[Plan]:
    """The phase ends soon after its last event; then everything begins at its beginning."""
    if any(planned.cue is not None for planned in plan.entries()):
        return  # nobody knows when those begin
    end = round(_end(plan) + TAIL_S, 3)
    if end < plan.duration_s:
        yield msgspec.structs.replace(plan, duration_s=end)
    begins = [planned.at for planned in plan.entries()] + [a.at for a in plan.arrivals]
    first = min([*begins, *(span[0] for span in plan.unattended)], default=0.0)
    if first > 1.0:
        yield _shift(plan, round(1.0 - first, 3), min(end, plan.duration_s))


def _shift(plan: Plan, by: float, end: float) -> Plan:
    """Everything ``by`` seconds later (earlier when it is negative)."""
    faults = [
        msgspec.structs.replace(
            fault,
            at=round(fault.at + by, 3),
            until=None if fault.until is None else round(fault.until + by, 3),
        )
        for fault in plan.faults
    ]
    arrivals = [msgspec.structs.replace(a, at=round(a.at + by, 3)) for a in plan.arrivals]
    actions = [msgspec.structs.replace(a, at=round(a.at + by, 3)) for a in plan.actions]
    away = tuple((round(a + by, 3), round(b + by, 3)) for a, b in plan.unattended)
    return msgspec.structs.replace(
        plan,
        unattended=away,
        actions=tuple(actions),
        faults=tuple(faults),
        arrivals=tuple(arrivals),
        duration_s=round(end + by, 3),
    )


def _shorter(fault: PlannedFault) -> Iterator[PlannedFault]:
    if fault.until is None:
        return
    lasts_s = fault.until - fault.at
    for share in (0.1, 0.25, 0.5):
        if lasts_s * share >= 1.0:
            yield msgspec.structs.replace(fault, until=round(fault.at + lasts_s * share, 3))


def _round_times(plan: Plan) -> Iterator[Plan]:
    """All times in whole seconds, else each fault's alone."""
    whole = [fault if fault.cue is not None else _whole(fault) for fault in plan.faults]
    yield msgspec.structs.replace(
        plan,
        faults=tuple(whole),
        arrivals=renumber(
            [msgspec.structs.replace(a, at=float(round(a.at))) for a in plan.arrivals]
        ),
        duration_s=float(-(-plan.duration_s // 1)),
    )
    for place, fault in enumerate(whole):
        yield _with(plan, place, fault)


def _whole(fault: PlannedFault) -> PlannedFault:
    at = float(round(fault.at))
    until = fault.until if fault.until is None else max(at + 1.0, float(round(fault.until)))
    return msgspec.structs.replace(fault, at=at, until=until)


# ---- targets -------------------------------------------------------------------------------------


def _narrower(planned: PlannedFault, directory: Directory) -> Iterator[PlannedFault]:
    """The fault on half of what it acts on, then on the other half: of any list of its fields."""
    written = planned.fault().file_fields()
    for name, value in written.items():
        for path, several in _lists(value):
            middle = len(several) // 2
            for half in (several[:middle], several[middle:]):
                changed = {**written, name: _replace_at(value, path, half)}
                made = _make_planned(planned, changed, directory)
                if made is not None:
                    yield made


def _lists(value: Any, path: tuple[int, ...] = ()) -> Iterator[tuple[tuple[int, ...], list[Any]]]:
    """Each list of several names in ``value``, with where it stands."""
    if not isinstance(value, list):
        return
    if len(value) > 1 and all(isinstance(item, str) for item in value):
        yield path, value
    for place, inner in enumerate(value):
        yield from _lists(inner, (*path, place))


def _replace_at(value: Any, path: tuple[int, ...], new: list[Any]) -> Any:
    if not path:
        return new
    copy = list(value)
    copy[path[0]] = _replace_at(copy[path[0]], path[1:], new)
    return copy


def _make_planned(
    planned: PlannedFault, fields: dict[str, Any], directory: Directory
) -> PlannedFault | None:
    type = fault_type(planned.kind)
    try:
        params = type.params.model_validate(fields)
        fault = type.of(planned.id, params, Targets(directory, Draws(0, planned.id)))
    except (ChaosError, ValueError):
        return None
    return msgspec.structs.replace(planned, values=to_plain(fault))
