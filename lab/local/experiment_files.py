"""Experiment files: shipped ones, their errors, plans for a new lab and for one that runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from chaos.errors import ChaosError
from chaos.experiment.document import read_heading as told_by
from chaos.experiment.lint import BadExperiment, read_experiment
from chaos.experiment.plan import Plan
from chaos.experiment.resolve import plan as make_plan
from chaos.experiment.write import skeleton
from chaos.yaml_file import read_yaml
from lab.play.prepare import Prepared, begin, find, list_shipped, prepare, problems, seed_of
from lab.runs.store import RunFolder
from lab.schema.answers.local import ExperimentList, LintReport, NewExperiment, ShippedExperiment
from lab.schema.commands import GetDirectory
from lab.schema.errors import KeysteadError
from lab.serve.waiting import Do
from lab.state.state_folder import LabFolder
from lab.supervise.launching import not_running
from lab.topology.lab_file import LabFile
from lab.topology.plan import plan as plan_topology
from protocol import names
from protocol.printable import quote_if_needed


def experiments(words: Sequence[str] = ()) -> ExperimentList:
    """The experiments that come with keystead; those whose name, title or first comment have all of
    these ``words``."""
    items = []
    for path in list_shipped():
        said = told_by(path.read_text(encoding="utf-8"))
        if all(word.lower() in path.stem or said.speaks_of(word) for word in words):
            items.append(ShippedExperiment(experiment=path.stem, title=said.title, file=str(path)))
    return ExperimentList(items=tuple(items))


def lint(experiment: str) -> LintReport:
    """Every error of an experiment's file, in one pass; KS-USE-002 when there is no such file."""
    path = find(experiment)
    return LintReport(file=str(path), items=tuple(str(p) for p in problems(path)))


def parameters(given: Sequence[str]) -> dict[str, Any]:
    """``NAME=VALUE`` as they are given at a command line; values as YAML has them."""
    found: dict[str, Any] = {}
    for one in given:
        name, equals, text = one.partition("=")
        read = read_yaml(text)
        if not equals or read.problems or isinstance(read.data, dict | list | None):
            raise KeysteadError("KS-USE-003", f"--with {quote_if_needed(one)}: write NAME=VALUE")
        found[name] = read.data
    return found


def new(name: str, folder: Path) -> NewExperiment:
    """Write a commented experiment into ``folder``; KS-USE-003 when there is one, or for a name
    that none can have."""
    if wrong := names.EXPERIMENT.fault(name):
        raise KeysteadError("KS-USE-003", wrong)
    path = folder / f"{name}.yaml"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(skeleton(name))
    except OSError as error:
        raise KeysteadError("KS-USE-003", f"{path}: {error.strerror}") from None
    return NewExperiment(experiment=name, file=str(path))


def prepare_experiment(
    experiment: str,
    seed: int | None,
    tpm: str | None,
    mode: str,
    given: Sequence[str] = (),
    pace: float | None = None,
) -> Prepared:
    """The plan of an experiment with these parameters, for a lab of its own in ``mode``; ``tpm``
    and ``pace``: the file's own when they are None."""
    try:
        made = prepare(experiment, seed, {"tpm": tpm, "pace": pace}, parameters(given), mode)
        _playable(made.plan, mode)
        options = (
            *(("--tpm", tpm) if tpm else ()),
            *(("--pace", f"{pace:g}") if pace is not None else ()),
        )
        return msgspec.structs.replace(made, options=(*options, *_with(given)))
    except ChaosError as error:
        raise BadFile(experiment, error) from None


def offers_load(experiment: str, given: Sequence[str] = ()) -> bool:
    """Whether an experiment's file has a ``load``; its errors as of ``prepared``."""
    try:
        return read_experiment(find(experiment), parameters(given)).load is not None
    except ChaosError as error:
        raise BadFile(experiment, error) from None


def _with(given: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for one in given for word in ("--with", one))


def _playable(plan: Plan, mode: str) -> None:
    """KS-CHAOS-021 for crash points on real processes."""
    if mode == "lab" and plan.strikes():
        text = f"on real processes nothing strikes at {plan.strikes()[0].text()}"
        raise KeysteadError("KS-CHAOS-021", text)


class BadFile(KeysteadError):
    """A file with errors: each line of the message names its place and its fix already. ``said``
    are the errors alone, for a file that nobody has written."""

    def __init__(self, experiment: str, error: ChaosError) -> None:
        fix = f"correct the lines named; `keystead chaos lint {experiment}` shows them all"
        super().__init__(error.id, f"{experiment}:\n{error.text}", fix)
        problems = error.problems if isinstance(error, BadExperiment) else ()
        self.said = tuple(one.text for one in problems) or (error.text,)


async def begin_on(
    do: Do, folder: LabFolder, experiment: str, seed: int | None, given: Sequence[str] = ()
) -> RunFolder:
    """A run's folder, with a plan made for the lab in ``folder`` that ``do`` reaches."""
    there = await do(GetDirectory())
    record = folder.record()
    if record is None:
        raise not_running(folder)
    try:
        read = read_experiment(find(experiment), parameters(given))
        made = make_plan(read, there, seed_of(read, seed))
        _playable(made, "lab")
    except ChaosError as error:
        raise BadFile(experiment, error) from None
    topology = plan_topology(LabFile.model_validate(record.file))
    options = ("--on", folder.name, *_with(given))
    return begin(Prepared(plan=made, topology=topology, text=read.text, options=options), "lab")
