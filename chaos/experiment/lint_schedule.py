"""The schedule of a file: each entry by itself, then what entries say of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from chaos.actions import ACTIONS
from chaos.actions.base import Action
from chaos.errors import ChaosError
from chaos.experiment.model import Guards
from chaos.experiment.schedule_model import (
    OF_ACTIONS,
    OF_FAULTS,
    Point,
    Random,
    RandomEntry,
    Rolling,
    Scheduled,
    ScheduledSwarm,
    ScheduleEntry,
    WhenSection,
)
from chaos.experiment.sections import Sections
from chaos.faults import FAULTS, fault_type
from chaos.faults.base import Fault
from chaos.points import blows_at
from chaos.workload import OPERATIONS
from chaos.yaml_file import Path
from protocol.events import EventTypeId

OUTCOMES: Final = ("invoke", "ok", "fail", "info")
_OF_FAULTS: Final = ("fault", "heal")
DRAWN_LIMIT: Final = 2_000
"""So many faults of one random entry; each is held against all others."""
_BEGINS: Final = ("at", "after", "when", "point")
FIELDS: Final = frozenset(f.alias or name for name, f in ScheduleEntry.model_fields.items())


class ScheduleLinter(Sections):
    """Reads the schedule of its document; ``guards`` have the budgets of what has no undo."""

    def schedule(
        self, value: Any, guards: Guards | None
    ) -> tuple[list[Scheduled], list[ScheduledSwarm]]:
        """The entries without errors of their own."""
        found: list[Scheduled] = []
        swarms: list[ScheduledSwarm] = []
        ids: dict[str, Path] = {}
        items = self.entries(("schedule",), value)
        declared = {str(item["id"]) for _, item in items if isinstance(item, dict) and "id" in item}
        for place, (path, item) in enumerate(items):
            data = self.fields(path, item)
            made: Scheduled | ScheduledSwarm | None
            if "random" in data:
                made = self._swarm(place, path, data, guards)
            else:
                made = self._step(place, path, data)
            if made is None:
                continue
            if made.id in ids:
                self.document.add(
                    (*path, "id"), "KS-CHAOS-007", f"{made.id!r} is the id of another entry"
                )
            ids[made.id] = path
            if isinstance(made, ScheduledSwarm):
                swarms.append(made)
                continue
            found.append(made)
            if not isinstance(made.what, Action):
                self._budget(path, made.what, guards)
        self._references(found, declared)
        return found, swarms

    # One entry -----------------------------------------------------------------------------

    def _step(self, place: int, path: Path, data: dict[str, Any]) -> Scheduled | None:
        entry = self.section(ScheduleEntry, path, {k: v for k, v in data.items() if k in FIELDS})
        if entry is None:
            return None
        if (entry.fault is None) == (entry.do is None):
            text = "give either `fault` or `do`"
            self.document.add(
                path, "KS-CHAOS-003", text, "see `keystead explain fault` or `action`"
            )
            return None
        self._times(path, entry)
        what = self._what(path, entry)
        if what is None:
            return None
        self._belongs(path, entry)
        rest = {k: v for k, v in data.items() if k not in FIELDS}
        at_point = not isinstance(what, Action) and what.at_point
        if at_point != (entry.point is not None):
            self._pointless(path, what.kind, at_point=at_point)
            return None
        if entry.point is not None:
            rest = self._at_point(path, entry.point, rest)
        if entry.rolling is not None:
            rest = self._batch_fields(path, entry, entry.rolling, what, rest)
        params = self.section(what.params, path, rest, also=sorted(FIELDS))
        if params is None:
            return None
        if entry.point is not None:
            self._possible(path, entry.point.call, params)
        kind = str(entry.fault or entry.do)
        return Scheduled(
            id=entry.id or f"{kind.replace('.', '-')}-{place + 1}",
            place=place,
            entry=entry,
            what=what,
            params=params,
        )

    def _what(self, path: Path, entry: ScheduleEntry) -> type[Fault] | Action | None:
        if entry.do is not None:
            action = ACTIONS.get(entry.do)
            if action is None:
                self.name((*path, "do"), "action", entry.do, ACTIONS)
            return action
        try:
            fault = fault_type(str(entry.fault))
        except ChaosError as error:
            self.document.add((*path, "fault"), error.id, error.text)
            return None
        if fault.at_point and fault.lasts_s == 0 and entry.for_ is not None:
            self.document.add((*path, "for"), "KS-CHAOS-004", "it is over at once")
        if entry.cure and fault.reversible:
            self.document.add((*path, "cure"), "KS-CHAOS-004", "it is healed without a cure")
        return fault

    def _belongs(self, path: Path, entry: ScheduleEntry) -> None:
        """Fields of faults belong to faults, those of actions to actions."""
        others, noun = (OF_FAULTS, "a fault") if entry.do is not None else (OF_ACTIONS, "an action")
        for name in sorted(entry.model_fields_set & others):
            written = name.rstrip("_")
            text = f"`{written}` belongs to {noun}"
            self.document.add((*path, written), "KS-CHAOS-004", text)

    def _times(self, path: Path, entry: ScheduleEntry) -> None:
        """One begin, and repeats that come to an end."""
        given = [name for name in _BEGINS if getattr(entry, name) is not None]
        if len(given) != 1:
            text = f"give one of {', '.join(f'`{name}`' for name in _BEGINS)}"
            self.document.add(path, "KS-CHAOS-003", text)
        if entry.when is not None:
            self._condition((*path, "when", "event"), entry.when)
        if entry.once is not None and (entry.after is None or not entry.after.end):
            text = "`once` needs `after: end of` an entry"
            self.document.add((*path, "once"), "KS-CHAOS-003", text)
        if entry.times is not None and entry.every is None:
            text = "`times` needs `every`"
            self.document.add((*path, "times"), "KS-CHAOS-003", text)
        if entry.every is not None and (entry.rolling is not None or entry.point is not None):
            text = "`every` does not go with `rolling` or `point`"
            self.document.add((*path, "every"), "KS-CHAOS-004", text)
        if entry.rolling is not None and entry.point is not None:
            self.document.add((*path, "rolling"), "KS-CHAOS-004", "a `point` is of one node")
        last = entry.for_ is not None and entry.every is not None and entry.for_ >= entry.every
        if last and entry.fault is not None:
            text = "one would begin before the last has ended: `for` is shorter than `every`"
            self.document.add((*path, "for"), "KS-CHAOS-004", text)
        may_miss = entry.when is not None or entry.point is not None or entry.rolling is not None
        if entry.optional and not may_miss and entry.after is None:
            text = "what begins `at` a time cannot fail to begin"
            self.document.add((*path, "optional"), "KS-CHAOS-004", text)

    def _condition(self, path: Path, when: WhenSection) -> None:
        """The event is one that there can be."""
        kind, colon, name = when.event.partition(":")
        if not colon:
            events = [event.value for event in EventTypeId]
            if when.event not in events:
                self.name(path, "event of vCenter", when.event, [*events, "ok:key.create"])
        elif kind in _OF_FAULTS:
            kinds = [fault.kind for fault in FAULTS]
            if name not in kinds:
                self.name(path, "fault", name, kinds)
        elif kind not in OUTCOMES:
            self.name(path, "kind of record", kind, [*OUTCOMES, *_OF_FAULTS])
        elif name not in OPERATIONS and name not in ACTIONS:
            self.name(path, "operation or action", name, [*OPERATIONS, *ACTIONS])

    def _batch_fields(
        self,
        path: Path,
        entry: ScheduleEntry,
        rolling: Rolling,
        what: type[Fault] | Action,
        rest: dict[str, Any],
    ) -> dict[str, Any]:
        """The fields of one batch: ``over`` stands for ``on`` here."""
        if "on" not in what.params.model_fields:
            text = f"{what.kind} has no `on` to roll over"
            self.document.add((*path, "rolling"), "KS-CHAOS-004", text)
            return rest
        if "on" in rest:
            self.document.add((*path, "on"), "KS-CHAOS-004", "`rolling` has `over` instead of `on`")
        endless = not isinstance(what, Action) and what.lasts_s is None
        if endless and entry.for_ is None:
            text = f"each batch of {what.kind} has an end: give `for`"
            self.document.add(path, "KS-CHAOS-003", text)
        return {**rest, "on": rolling.over}

    def _pointless(self, path: Path, kind: str, *, at_point: bool) -> None:
        if at_point:
            text = f"{kind} happens within a call: give `point`"
            self.document.add(path, "KS-CHAOS-003", text, "see `keystead explain entry point`")
        else:
            kinds = " or ".join(fault.kind for fault in FAULTS if fault.at_point)
            text = f"within a call there is {kinds}, and not {kind}"
            self.document.add((*path, "point"), "KS-CHAOS-004", text)

    def _at_point(self, path: Path, point: Point, rest: dict[str, Any]) -> dict[str, Any]:
        """The fields of the fault: the point's node stands for ``on`` here."""
        if "on" in rest:
            self.document.add((*path, "on"), "KS-CHAOS-004", "`point` has `node` instead of `on`")
        return {**rest, "on": point.node}

    def _possible(self, path: Path, call: str, params: Any) -> None:
        """The blow is one that can fall at such a call."""
        blows = blows_at(call)
        if params.blow in blows:
            return
        can = ", ".join(f"{blow.happening} {blow.when}" for blow in blows)
        text = f"at {call} there is no {params.happening} {params.moment}; there are {can}"
        self.document.add((*path, "point"), "KS-CHAOS-004", text)

    def _swarm(
        self, place: int, path: Path, data: dict[str, Any], guards: Guards | None
    ) -> ScheduledSwarm | None:
        inside = self.section(Random, (*path, "random"), data["random"])
        made = self.section(RandomEntry, path, {**data, "random": {"until": "1s"}})
        if made is None or inside is None:
            return None
        if inside.until - inside.from_ < inside.least:
            text = "between `from` and `until` there is no room for the shortest fault"
            self.document.add((*path, "random"), "KS-CHAOS-013", text)
        count = (inside.until - inside.from_) / inside.every.mean
        if count > DRAWN_LIMIT:
            text = f"some {count:,.0f} faults are more than {DRAWN_LIMIT:,}: let `every` be longer"
            self.document.add((*path, "random", "every"), "KS-CHAOS-004", text)
        for name in ("omit", "quiet"):
            if getattr(inside.swarm, name) >= 1:
                text = f"`{name}` of 100% leaves nothing to be drawn"
                self.document.add((*path, "random", "swarm", name), "KS-CHAOS-004", text)
        known = [fault.kind for fault in FAULTS]
        for number, kind in enumerate(inside.kinds or ()):
            where = (*path, "random", "kinds", number)
            if kind not in known:
                self.name(where, "fault", kind, known)
            else:
                self._budget(where[:-1], fault_type(kind), guards)
        return ScheduledSwarm(id=made.id, place=place, random=inside)

    def _budget(self, path: Path, fault: type[Fault], guards: Guards | None) -> None:
        if fault.reversible or guards is None:
            return
        if str(guards.blast_radius.get(fault.kind, 0)) == "0":
            self.document.add(
                (*path, "fault"),
                "KS-CHAOS-012",
                f"{fault.kind} has no undo and no budget",
                f"add `blast_radius: {{{fault.kind}: 1}}` to guards, if it is meant",
            )

    # Between entries -----------------------------------------------------------------------

    def _references(self, found: Sequence[Scheduled], declared: set[str]) -> None:
        """``declared`` are the ids of all entries, also of those with errors of their own."""
        by_id: Mapping[str, Scheduled] = {made.id: made for made in found}
        for made in found:
            path = ("schedule", made.place, "after")
            seen, at = {made.id}, made.entry.after
            while at is not None:
                if at.id in seen:
                    text = f"{made.id!r} begins after itself"
                    self.document.add(path, "KS-CHAOS-008", text)
                    break
                if at.id not in by_id:
                    if at.id not in declared:
                        text = f"there is no entry {at.id!r} in this schedule"
                        self.document.add(path, "KS-CHAOS-008", text)
                    break
                seen.add(at.id)
                at = by_id[at.id].entry.after
