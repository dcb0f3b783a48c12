"""All errors of an experiment file in one pass, each with line, column, id and fix.

Sections are validated on their own, entry by entry, so one error hides no other. What the
format of later versions has and this one does not build is refused, never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any, Final

from chaos.checks import CHECKS
from chaos.errors import ChaosError
from chaos.experiment.control import MUST
from chaos.experiment.lint_schedule import ScheduleLinter
from chaos.experiment.model import (
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
    Probed,
    Recover,
    Requires,
    TopologyUse,
)
from chaos.experiment.parameters import Parameters
from chaos.experiment.parse import Document, Problem, parse
from chaos.faults import FAULTS
from chaos.hypotheses.probes import PROBES, Probe
from chaos.load.planned import operation_of
from chaos.load.threshold import check_of
from chaos.text_file import text_of
from chaos.workload import OPERATIONS
from chaos.yaml_file import Path, YamlFile
from protocol.printable import quote

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

    def _measurable(self, path: Path, made: Probed | Abort, *, live: bool) -> Probe | None:
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
        path: Path = ("negative_control",)
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

    def _phase(self, when: str, path: Path, made: Probed) -> None:
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
