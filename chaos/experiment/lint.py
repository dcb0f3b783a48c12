"""All errors of an experiment file in one pass, each with line, column, id and fix: its sections,
each entry of the schedule by itself, then what entries say of each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final

from chaos.actions import ACTIONS
from chaos.actions.base import Action
from chaos.checks import CHECKS
from chaos.errors import ChaosError
from chaos.experiment.document import Document, Parameters, Problem, Sections, parse
from chaos.experiment.model import (
    OF_ACTIONS,
    OF_FAULTS,
    ONLY_IN,
    SHARED,
    Abort,
    Checks,
    Experiment,
    FinalPhase,
    Guards,
    Heading,
    Load,
    NegativeControl,
    Offered,
    Point,
    Probed,
    Random,
    RandomEntry,
    Recover,
    Requires,
    Rolling,
    Scheduled,
    ScheduledSwarm,
    ScheduleEntry,
    TopologyUse,
    WhenSection,
)
from chaos.faults import FAULTS, fault_type
from chaos.faults.base import Fault
from chaos.hypotheses.probes import PROBES, Probe
from chaos.load.planned import check_of, operation_of
from chaos.points import blows_at
from chaos.verdict import MUST
from chaos.workload import OPERATIONS
from chaos.yaml_file import ValuePath, YamlFile, text_of
from protocol.events import EventTypeId
from protocol.printable import quote

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
        ids: dict[str, ValuePath] = {}
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

    def _step(self, place: int, path: ValuePath, data: dict[str, Any]) -> Scheduled | None:
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

    def _what(self, path: ValuePath, entry: ScheduleEntry) -> type[Fault] | Action | None:
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

    def _belongs(self, path: ValuePath, entry: ScheduleEntry) -> None:
        """Fields of faults belong to faults, those of actions to actions."""
        others, noun = (OF_FAULTS, "a fault") if entry.do is not None else (OF_ACTIONS, "an action")
        for name in sorted(entry.model_fields_set & others):
            written = name.rstrip("_")
            text = f"`{written}` belongs to {noun}"
            self.document.add((*path, written), "KS-CHAOS-004", text)

    def _times(self, path: ValuePath, entry: ScheduleEntry) -> None:
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

    def _condition(self, path: ValuePath, when: WhenSection) -> None:
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
        path: ValuePath,
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

    def _pointless(self, path: ValuePath, kind: str, *, at_point: bool) -> None:
        if at_point:
            text = f"{kind} happens within a call: give `point`"
            self.document.add(path, "KS-CHAOS-003", text, "see `keystead explain entry point`")
        else:
            kinds = " or ".join(fault.kind for fault in FAULTS if fault.at_point)
            text = f"within a call there is {kinds}, and not {kind}"
            self.document.add((*path, "point"), "KS-CHAOS-004", text)

    def _at_point(self, path: ValuePath, point: Point, rest: dict[str, Any]) -> dict[str, Any]:
        """The fields of the fault: the point's node stands for ``on`` here."""
        if "on" in rest:
            self.document.add((*path, "on"), "KS-CHAOS-004", "`point` has `node` instead of `on`")
        return {**rest, "on": point.node}

    def _possible(self, path: ValuePath, call: str, params: Any) -> None:
        """The blow is one that can fall at such a call."""
        blows = blows_at(call)
        if params.blow in blows:
            return
        can = ", ".join(f"{blow.happening} {blow.when}" for blow in blows)
        text = f"at {call} there is no {params.happening} {params.moment}; there are {can}"
        self.document.add((*path, "point"), "KS-CHAOS-004", text)

    def _swarm(
        self, place: int, path: ValuePath, data: dict[str, Any], guards: Guards | None
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

    def _budget(self, path: ValuePath, fault: type[Fault], guards: Guards | None) -> None:
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


SECTIONS: Final = (
    "topology",
    "requires",
    "workload",
    "load",
    "hypothesis",
    "guards",
    "schedule",
    "final",
    "checks",
    "negative_control",
)
LATER_HYPOTHESIS: Final = {"sometimes": "`sometimes` is not available; use a check or a probe"}
BUDGETS: Final = ("hosts", "kms", "vcenter")


class BadExperiment(ChaosError):
    """A file with errors; ``problems`` are all of them, in order of their place.

    ``document`` is the file, for who has more to say about it.
    """

    def __init__(self, problems: Iterable[Problem], document: Document) -> None:
        self.document = document
        self.problems = tuple(sorted(problems, key=lambda p: (p.place, p.id)))
        super().__init__(self.problems[0].id, "\n".join(map(str, self.problems)))


def read_experiment(path: FilePath, given: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment in the file at ``path``; ``BadExperiment`` with every error of it.

    ``given`` are values of its parameters (``with``) that replace the file's own.
    """
    try:
        text = text_of(path)
    except (OSError, ValueError) as error:
        document = Document(str(path), YamlFile())
        document.add((), "KS-CHAOS-009", f"it cannot be read: {error}")
        raise BadExperiment(document.problems, document) from None
    return check_experiment(text, str(path), given)


def check_experiment(text: str, file: str, given: Mapping[str, Any] | None = None) -> Experiment:
    """The experiment that ``text`` says with these parameters; ``BadExperiment`` with every error
    of it."""
    document = parse(text, file)
    if document.data is None:
        if not document.problems:  # the word ``null`` alone
            document.add((), "KS-CHAOS-004", "a map of fields is wanted here")
        raise BadExperiment(document.problems, document)
    found = _Linter(document).experiment(text, given or {})
    if document.problems or found is None:
        raise BadExperiment(document.problems, document)
    return found


class _Linter(ScheduleLinter):
    """Walks one document and collects its problems there."""

    def experiment(self, text: str, given: Mapping[str, Any]) -> Experiment | None:
        data = self.fields((), self.document.data)
        if not isinstance(self.document.data, dict):
            return None
        data = self.document.data = Parameters(self.document).fill(data, given)
        top = {k: v for k, v in data.items() if k not in SECTIONS}
        heading = self.section(Heading, (), top, also=SECTIONS)
        topology = self._topology(data.get("topology"))
        requires = self._requires(data.get("requires", {}))
        guards = self._guards(data.get("guards", {}))
        final = self.section(FinalPhase, ("final",), data.get("final", {}))
        hypothesis = self.fields(("hypothesis",), data.get("hypothesis", {}))
        self.refuse(("hypothesis",), hypothesis, LATER_HYPOTHESIS)
        known = ("before", "during", "after", "recover", *LATER_HYPOTHESIS)
        self.unknown(("hypothesis",), hypothesis, known)
        probes = {when: self._probes(when, hypothesis.get(when, [])) for when in known[:3]}
        recover = None
        if "recover" in hypothesis:
            made = self.section(Recover, ("hypothesis", "recover"), hypothesis["recover"])
            recover = made.within if made is not None else None
        workload = self._workload(data.get("workload", []))
        load = self._load(data, workload)
        checks = self._checks(data.get("checks", {}))
        held = () if load is None else load.thresholds
        control = self._control(data, held)
        if not any(hypothesis.get(when) for when in known[:3]) and not checks and not held:
            text = "there is nothing to hold: no hypothesis, and no check is added"
            fix = "add `hypothesis: {after: [{probe: ..., is: ...}]}`; see `keystead explain probe`"
            self.document.add(("hypothesis",), "KS-CHAOS-003", text, fix)
        if "schedule" not in data:
            self.document.add((), "KS-CHAOS-003", "an experiment has a schedule")
        scheduled, swarms = self.schedule(data.get("schedule", []), guards)
        self._check_followed(probes["during"], data.get("schedule", []))
        if self.document.problems or heading is None or requires is None:
            return None
        if guards is None or final is None:
            return None
        return Experiment(
            document=self.document,
            text=text,
            heading=heading,
            topology=topology,
            requires=requires,
            workload=tuple(workload),
            load=load,
            before=tuple(probes["before"]),
            during=tuple(probes["during"]),
            after=tuple(probes["after"]),
            recover=recover,
            final=final,
            guards=guards,
            schedule=tuple(scheduled),
            swarms=tuple(swarms),
            checks=tuple(checks),
            control=control,
        )

    # Sections ------------------------------------------------------------------------------

    def _topology(self, value: Any) -> Any:
        """``{use: edge, with: {...}}``, or a whole Lab file inline; the lab judges its inside."""
        if value is None:
            self.document.add((), "KS-CHAOS-003", "an experiment names its topology")
            return None
        data = self.fields(("topology",), value)
        if "use" in data:
            self.section(TopologyUse, ("topology",), data)
        return data

    def _requires(self, value: Any) -> Requires | None:
        return self.section(Requires, ("requires",), value)

    def _guards(self, value: Any) -> Guards | None:
        data = self.fields(("guards",), value)
        guards = self.section(Guards, ("guards",), data)
        for place, abort in enumerate(guards.abort_if if guards else ()):
            self._measurable(("guards", "abort_if", place), abort, live=True)
        kinds = [fault.kind for fault in FAULTS]
        for key, amount in (guards.blast_radius if guards else {}).items():
            path = ("guards", "blast_radius", key)
            if key not in BUDGETS and key not in kinds:
                self.name(path, "budget", key, [*BUDGETS, *kinds])
            text = amount if isinstance(amount, str) else str(int(amount))
            whole = re.fullmatch("([0-9]{1,9})(%?)", text)
            share = whole is not None and whole[2] == "%"
            if whole is None or (share and (key not in BUDGETS or int(whole[1]) > 100)):
                self.document.add(path, "KS-CHAOS-004", f"{quote(text)} is no number, nor a share")
        return guards

    def _probes(self, when: str, value: Any) -> list[Probed]:
        found = []
        for path, item in self.entries(("hypothesis", when), value):
            made = self.section(Probed, path, item)
            if made is None:
                continue
            probe = self._measurable(path, made, live=when != "after")
            if probe is None:
                continue
            self._phase(when, path, made)
            if made.op is not None and probe.about != "op":
                self.document.add((*path, "op"), "KS-CHAOS-004", f"{probe.name} takes no `op`")
            if made.op is not None and made.op not in OPERATIONS:
                self.name((*path, "op"), "operation", made.op, OPERATIONS)
            found.append(made)
        return found

    def _check_followed(self, probes: list[Probed], schedule: Any) -> None:
        """Entries that probes wait for are there."""
        items = schedule if isinstance(schedule, list) else []
        ids = {str(item["id"]) for item in items if isinstance(item, dict) and "id" in item}
        for place, made in enumerate(probes):
            if made.after is not None and made.after.id not in ids:
                text = f"there is no entry {made.after.id!r} in this schedule"
                path = ("hypothesis", "during", place, "after")
                self.document.add(path, "KS-CHAOS-008", text)

    def _measurable(self, path: ValuePath, made: Probed | Abort, *, live: bool) -> Probe | None:
        """The probe, held against a limit in its unit; None when there is none of that name."""
        probe = PROBES.get(made.probe)
        if probe is None:
            self.name((*path, "probe"), "probe", made.probe, PROBES)
            return None
        if isinstance(made, Abort):
            word = next(w for w in ("is_", "above", "below") if getattr(made, w) is not None)
            limit = made.limit
        else:
            word, limit = "is", made.is_
        problem = limit.fits(probe.unit)
        if problem:
            self.document.add((*path, word.rstrip("_")), "KS-CHAOS-004", problem)
        if live and not probe.live:
            text = f"{probe.name} sums up a run; it belongs to `after`"
            self.document.add((*path, "probe"), "KS-CHAOS-004", text)
        if made.on is not None and probe.about not in ("vms", "hosts"):
            self.document.add((*path, "on"), "KS-CHAOS-004", f"{probe.name} takes no `on`")
        return probe

    def _control(self, data: dict[str, Any], thresholds: Sequence[str]) -> NegativeControl | None:
        path: ValuePath = ("negative_control",)
        if path[0] not in data:
            return None
        made = self.section(NegativeControl, path, data[path[0]])
        if made is None:
            return None
        if (made.patch is None) == (made.disable is None):
            self.document.add(path, "KS-CHAOS-003", "give either `patch` or `disable`")
        known = [*CHECKS, *PROBES, MUST, *map(check_of, thresholds)]
        for place, name in enumerate(made.expect):
            if name not in known:
                self.name((*path, "expect", place), "check, probe or threshold", name, known)
        return made

    def _phase(self, when: str, path: ValuePath, made: Probed) -> None:
        """What is written has a meaning where it is written."""
        for name in sorted(made.model_fields_set - SHARED - ONLY_IN[when]):
            written = name.rstrip("_")
            where = next(phase for phase, fields in ONLY_IN.items() if name in fields)
            text = f"`{written}` belongs to probes of `{where}`, not of `{when}`"
            self.document.add((*path, written), "KS-CHAOS-004", text)
        if made.until is not None and made.until <= made.from_:
            self.document.add(path, "KS-CHAOS-004", "`until` lies before `from`")
        if (made.after is None) != (made.for_ is None):
            self.document.add(path, "KS-CHAOS-003", "`after` and `for` go together")
        for name in sorted(made.model_fields_set & {"from_", "until"} if made.after else ()):
            written = name.rstrip("_")
            text = f"`{written}` is a time of the run, and `after` waits for an entry"
            self.document.add((*path, written), "KS-CHAOS-004", text)

    def _workload(self, value: Any) -> list[Load]:
        found = []
        for path, item in self.entries(("workload",), value):
            made = self.section(Load, path, item)
            if made is None:
                continue
            if made.op not in OPERATIONS:
                self.name((*path, "op"), "operation", made.op, OPERATIONS)
            if made.until is not None and made.until <= made.from_:
                self.document.add(path, "KS-CHAOS-004", "`until` lies before `from`")
            found.append(made)
        return found

    def _load(self, data: Mapping[str, Any], workload: Iterable[Load]) -> Offered | None:
        if "load" not in data:
            return None
        made = self.section(Offered, ("load",), data["load"])
        ops = {one.op for one in workload}
        for word in made.mix if made is not None else ():
            if operation_of(word) in ops:
                text = f"`workload` has {operation_of(word)} too: nobody could tell them apart"
                self.document.add(("load", "mix", word), "KS-CHAOS-004", text)
        return made

    def _checks(self, value: Any) -> list[str]:
        made = self.section(Checks, ("checks",), value)
        for place, name in enumerate(made.add if made else []):
            if name not in CHECKS:
                self.name(("checks", "add", place), "check", name, CHECKS)
        return made.add if made else []
