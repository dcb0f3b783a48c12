"""All errors of an experiment file in one pass, each with line, column, id and fix.

Sections are validated on their own, entry by entry, so one error hides no other. What the
format of later versions has and this one does not build is refused, never ignored.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path as FilePath
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from chaos.checks import CHECKS
from chaos.errors import ChaosError
from chaos.experiment.model import (
    ONLY_IN,
    SHARED,
    Checks,
    Experiment,
    FinalPhase,
    Guards,
    Heading,
    Load,
    Probed,
    Recover,
    Requires,
    ScheduledFault,
    ScheduleEntry,
    TopologyUse,
)
from chaos.experiment.parse import Document, Problem, parse
from chaos.faults import FAULTS, fault_type
from chaos.hypotheses.probes import PROBES
from chaos.text_file import text_of
from chaos.workload import OPERATIONS
from chaos.yaml_file import Path, YamlFile
from protocol.printable import quoted

M = TypeVar("M", bound=BaseModel)

SECTIONS: Final = (
    "topology",
    "requires",
    "workload",
    "hypothesis",
    "guards",
    "schedule",
    "final",
    "checks",
)
LATER: Final = {
    "negative_control": "planted bugs in files are not available",
}
NOT_YET: Final = {
    "when": "faults triggered by events are not available; give `at` or `after`",
    "point": "crash points in files are not available; give `at` or `after`",
    "random": "random schedules are not available; write the faults out",
    "nth": "crash points in files are not available",
}
LATER_GUARDS: Final = {"abort_if": "abort conditions are not available"}
LATER_HYPOTHESIS: Final = {"sometimes": "`sometimes` is not available; use a check or a probe"}
ENTRIES_LIMIT: Final = 1000  # of a schedule, a workload, one phase of a hypothesis
BUDGETS: Final = ("hosts", "kms", "vcenter")


class BadExperiment(ChaosError):
    """A file with errors; ``problems`` are all of them, in order of their place.

    ``document`` is the file, for who has more to say about it.
    """

    def __init__(self, problems: Iterable[Problem], document: Document) -> None:
        self.document = document
        self.problems = tuple(sorted(problems, key=lambda p: (p.place, p.id)))
        super().__init__(self.problems[0].id, "\n".join(map(str, self.problems)))


def read_experiment(path: FilePath) -> Experiment:
    """The experiment in the file at ``path``; ``BadExperiment`` with every error of it."""
    try:
        text = text_of(path)
    except (OSError, ValueError) as error:
        document = Document(str(path), YamlFile())
        document.add((), "KS-CHAOS-009", f"it cannot be read: {error}")
        raise BadExperiment(document.problems, document) from None
    return check_experiment(text, str(path))


def check_experiment(text: str, file: str) -> Experiment:
    """The experiment that ``text`` says; ``BadExperiment`` with every error of it."""
    document = parse(text, file)
    if document.data is None:
        if not document.problems:  # the word ``null`` alone
            document.add((), "KS-CHAOS-004", "a map of fields is wanted here")
        raise BadExperiment(document.problems, document)
    found = _Linter(document).experiment(text)
    if document.problems or found is None:
        raise BadExperiment(document.problems, document)
    return found


class _Linter:
    """Walks one document and collects its problems there."""

    def __init__(self, document: Document) -> None:
        self._document = document

    def experiment(self, text: str) -> Experiment | None:
        data = self._map((), self._document.data)
        if not isinstance(self._document.data, dict):
            return None
        self._refuse((), data, LATER)
        top = {k: v for k, v in data.items() if k not in SECTIONS and k not in LATER}
        heading = self._section(Heading, (), top, also=SECTIONS)
        topology = self._topology(data.get("topology"))
        requires = self._section(Requires, ("requires",), data.get("requires", {}))
        guards = self._guards(data.get("guards", {}))
        final = self._section(FinalPhase, ("final",), data.get("final", {}))
        hypothesis = self._map(("hypothesis",), data.get("hypothesis", {}))
        self._refuse(("hypothesis",), hypothesis, LATER_HYPOTHESIS)
        known = ("before", "during", "after", "recover", *LATER_HYPOTHESIS)
        self._unknown(("hypothesis",), hypothesis, known)
        probes = {when: self._probes(when, hypothesis.get(when, [])) for when in known[:3]}
        recover = None
        if "recover" in hypothesis:
            made = self._section(Recover, ("hypothesis", "recover"), hypothesis["recover"])
            recover = made.within if made is not None else None
        workload = self._workload(data.get("workload", []))
        checks = self._checks(data.get("checks", {}))
        if not any(hypothesis.get(when) for when in known[:3]) and not checks:
            text = "there is nothing to hold: no hypothesis, and no check is added"
            fix = "add `hypothesis: {after: [{probe: ..., is: ...}]}`; see `keystead explain probe`"
            self._document.add(("hypothesis",), "KS-CHAOS-003", text, fix)
        if "schedule" not in data:
            self._document.add((), "KS-CHAOS-003", "an experiment has a schedule")
        scheduled = self._schedule(data.get("schedule", []), guards)
        if self._document.problems or heading is None or requires is None:
            return None
        if guards is None or final is None:
            return None
        return Experiment(
            document=self._document,
            text=text,
            heading=heading,
            topology=topology,
            requires=requires,
            workload=tuple(workload),
            before=tuple(probes["before"]),
            during=tuple(probes["during"]),
            after=tuple(probes["after"]),
            recover=recover,
            final=final,
            guards=guards,
            faults=tuple(scheduled),
            checks=tuple(checks),
        )

    # Sections ------------------------------------------------------------------------------

    def _topology(self, value: Any) -> Any:
        """``{use: edge, with: {...}}``, or a whole Lab file inline; the lab judges its inside."""
        if value is None:
            self._document.add((), "KS-CHAOS-003", "an experiment names its topology")
            return None
        data = self._map(("topology",), value)
        if "use" in data:
            self._section(TopologyUse, ("topology",), data)
        return data

    def _guards(self, value: Any) -> Guards | None:
        data = self._map(("guards",), value)
        self._refuse(("guards",), data, LATER_GUARDS)
        rest = {k: v for k, v in data.items() if k not in LATER_GUARDS}
        guards = self._section(Guards, ("guards",), rest)
        kinds = [fault.kind for fault in FAULTS]
        for key, amount in (guards.blast_radius if guards else {}).items():
            path = ("guards", "blast_radius", key)
            if key not in BUDGETS and key not in kinds:
                self._name(path, "budget", key, [*BUDGETS, *kinds])
            text = amount if isinstance(amount, str) else str(int(amount))
            whole = re.fullmatch("([0-9]{1,9})(%?)", text)
            share = whole is not None and whole[2] == "%"
            if whole is None or (share and (key not in BUDGETS or int(whole[1]) > 100)):
                self._document.add(
                    path, "KS-CHAOS-004", f"{quoted(text)} is no number, nor a share"
                )
        return guards

    def _probes(self, when: str, value: Any) -> list[Probed]:
        found = []
        for path, item in self._list(("hypothesis", when), value):
            made = self._section(Probed, path, item)
            if made is None:
                continue
            probe = PROBES.get(made.probe)
            if probe is None:
                self._name((*path, "probe"), "probe", made.probe, PROBES)
                continue
            problem = made.is_.fits(probe.unit)
            if problem:
                self._document.add((*path, "is"), "KS-CHAOS-004", problem)
            if not probe.live and when != "after":
                text = f"{probe.name} sums up a run; it belongs to `after`"
                self._document.add((*path, "probe"), "KS-CHAOS-004", text)
            self._phase(when, path, made)
            if made.op is not None and probe.about != "op":
                self._document.add((*path, "op"), "KS-CHAOS-004", f"{probe.name} takes no `op`")
            if made.on is not None and probe.about not in ("vms", "hosts"):
                self._document.add((*path, "on"), "KS-CHAOS-004", f"{probe.name} takes no `on`")
            if made.op is not None and made.op not in OPERATIONS:
                self._name((*path, "op"), "operation", made.op, OPERATIONS)
            found.append(made)
        return found

    def _phase(self, when: str, path: Path, made: Probed) -> None:
        """What is written has a meaning where it is written."""
        for name in sorted(made.model_fields_set - SHARED - ONLY_IN[when]):
            written = name.rstrip("_")
            where = next(phase for phase, fields in ONLY_IN.items() if name in fields)
            text = f"`{written}` belongs to probes of `{where}`, not of `{when}`"
            self._document.add((*path, written), "KS-CHAOS-004", text)
        if made.until is not None and made.until <= made.from_:
            self._document.add(path, "KS-CHAOS-004", "`until` lies before `from`")

    def _workload(self, value: Any) -> list[Load]:
        found = []
        for path, item in self._list(("workload",), value):
            made = self._section(Load, path, item)
            if made is None:
                continue
            if made.op not in OPERATIONS:
                self._name((*path, "op"), "operation", made.op, OPERATIONS)
            if made.until is not None and made.until <= made.from_:
                self._document.add(path, "KS-CHAOS-004", "`until` lies before `from`")
            found.append(made)
        return found

    def _checks(self, value: Any) -> list[str]:
        made = self._section(Checks, ("checks",), value)
        for place, name in enumerate(made.add if made else []):
            if name not in CHECKS:
                self._name(("checks", "add", place), "check", name, CHECKS)
        return made.add if made else []

    # The schedule --------------------------------------------------------------------------

    def _schedule(self, value: Any, guards: Guards | None) -> list[ScheduledFault]:
        found: list[ScheduledFault] = []
        paths: list[Path] = []
        ids: dict[str, int] = {}
        items = self._list(("schedule",), value)
        declared = {str(item["id"]) for _, item in items if isinstance(item, dict) and "id" in item}
        for path, item in items:
            data = self._map(path, item)
            self._refuse(path, data, NOT_YET)
            if any(key in data for key in NOT_YET):
                continue
            made = self._step(path, data, f"{data.get('fault', 'fault')}-{len(found) + 1}")
            if made is None:
                continue
            if made.id in ids:
                text = f"{made.id!r} is the id of another fault"
                self._document.add((*path, "id"), "KS-CHAOS-007", text)
            ids[made.id] = len(found)
            found.append(made)
            paths.append(path)
            self._budget(path, made, guards)
        self._references(found, paths, ids, declared)
        return found

    def _step(self, path: Path, data: dict[str, Any], default: str) -> ScheduledFault | None:
        fields = {"fault", "id", "at", "after", "for", "cure", "drawn"}
        entry = self._section(ScheduleEntry, path, {k: v for k, v in data.items() if k in fields})
        if entry is None:
            return None
        if (entry.at is None) == (entry.after is None):
            self._document.add(path, "KS-CHAOS-003", "give either `at` or `after`")
        try:
            cls = fault_type(entry.fault)
        except ChaosError as error:
            self._document.add((*path, "fault"), error.id, error.text)
            return None
        if entry.cure and cls.reversible:
            self._document.add((*path, "cure"), "KS-CHAOS-004", "it is healed without a cure")
        rest = {k: v for k, v in data.items() if k not in fields}
        params = self._section(cls.params, path, rest, also=sorted(fields))
        if params is None:
            return None
        return ScheduledFault(
            id=entry.id or default.replace(".", "-"), entry=entry, type=cls, params=params
        )

    def _budget(self, path: Path, made: ScheduledFault, guards: Guards | None) -> None:
        if made.type.reversible or guards is None:
            return
        if str(guards.blast_radius.get(made.type.kind, 0)) == "0":
            self._document.add(
                (*path, "fault"),
                "KS-CHAOS-012",
                f"{made.type.kind} has no undo and no budget",
                f"add `blast_radius: {{{made.type.kind}: 1}}` to guards, if it is meant",
            )

    def _references(
        self,
        found: list[ScheduledFault],
        paths: list[Path],
        ids: Mapping[str, int],
        declared: set[str],
    ) -> None:
        """``declared`` are the ids of all entries, also of those with errors of their own."""
        for path, made in zip(paths, found, strict=True):
            seen, at = {made.id}, made.entry.after
            while at is not None:
                if at.id in seen:
                    text = f"{made.id!r} begins after itself"
                    self._document.add((*path, "after"), "KS-CHAOS-008", text)
                    break
                if at.id not in ids:
                    if at.id not in declared:
                        text = f"there is no fault {at.id!r} in this schedule"
                        self._document.add((*path, "after"), "KS-CHAOS-008", text)
                    break
                seen.add(at.id)
                at = found[ids[at.id]].entry.after

    # Validation ----------------------------------------------------------------------------

    def _section(
        self, model: type[M], path: Path, value: Any, also: Iterable[str] = ()
    ) -> M | None:
        """``value`` as a ``model``, or None with its problems; ``also`` for suggestions."""
        data = self._map(path, value)
        try:
            return model.model_validate(data)
        except ValidationError as error:
            fields = [f.alias or name for name, f in model.model_fields.items()]
            for detail in error.errors(include_url=False):
                if self._document.full:
                    break
                self._report(path, detail, [*fields, *also])
            return None

    def _report(self, path: Path, detail: Any, fields: list[str]) -> None:
        where = (*path, *detail["loc"])
        kind, name = detail["type"], str(detail["loc"][-1]) if detail["loc"] else ""
        if kind == "extra_forbidden":
            near = difflib.get_close_matches(name[:100], fields, n=3, cutoff=0.5)
            hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(fields)}"
            self._document.add(where, "KS-CHAOS-002", f"unknown field {quoted(name)}; {hint}")
        elif kind == "missing":
            self._document.add(where, "KS-CHAOS-003", f"{name!r} is missing")
        elif kind == "no_unit":
            self._document.add(where, "KS-CHAOS-005", f"{name}: {detail['msg']}")
        else:
            label = f"{name}: " if name else ""
            text = detail["msg"].removeprefix("Value error, ")
            self._document.add(where, "KS-CHAOS-004", f"{label}{text}")

    def _map(self, path: Path, value: Any) -> dict[str, Any]:
        if isinstance(value, dict):
            return value
        self._document.add(path, "KS-CHAOS-004", "a map of fields is wanted here")
        return {}

    def _list(self, path: Path, value: Any) -> list[tuple[Path, Any]]:
        if isinstance(value, list) and len(value) > ENTRIES_LIMIT:
            text = f"{len(value)} entries are more than {ENTRIES_LIMIT}"
            self._document.add(path, "KS-CHAOS-009", text)
            return []
        if isinstance(value, list):
            return [((*path, place), item) for place, item in enumerate(value)]
        self._document.add(path, "KS-CHAOS-004", "a list is wanted here")
        return []

    def _refuse(self, path: Path, data: dict[str, Any], later: Mapping[str, str]) -> None:
        for key, text in later.items():
            if key in data:
                self._document.add((*path, key), "KS-CHAOS-006", text)

    def _unknown(self, path: Path, data: dict[str, Any], known: Iterable[str]) -> None:
        names = list(known)
        for key in data:
            if key not in names:
                self._name((*path, key), "field", key, names, "KS-CHAOS-002")

    def _name(
        self, path: Path, noun: str, name: str, known: Iterable[str], id: str = "KS-CHAOS-014"
    ) -> None:
        if self._document.full:
            return
        names = list(known)
        near = difflib.get_close_matches(name[:100], names, n=3, cutoff=0.4)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {', '.join(names)}"
        self._document.add(path, id, f"no {noun} {quoted(name)}; {hint}")
