"""``chaos list|lint|plan|run|replay`` and ``runs``."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

from lab.api.commands import ChaosPlay, ChaosStop, GetDirectory
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, hint, plain, say, show
from lab.errors import KeysteadError

if TYPE_CHECKING:
    from chaos.errors import ChaosError
    from chaos.verdict import Verdict
    from lab.runs.prepare import Prepared
    from lab.runs.store import RunFolder

Seed = Annotated[int | None, Parameter(help="Seed; the file's own when it is left out.")]
Tpm = Annotated[Literal["libtpms", "model", "none"] | None, Parameter(help="TPM under every host.")]


def list_(*, options: Options = DEFAULTS) -> None:
    """The experiments that come with keystead."""
    from chaos.experiment.lint import read_experiment
    from lab.runs.prepare import shipped

    items = []
    for path in shipped():
        heading = read_experiment(path).heading
        items.append({"experiment": heading.name, "title": heading.title, "file": str(path)})
    columns = (field("experiment"), field("title"))
    answer = {"kind": "ExperimentList", "items": items}
    show(answer, options.output, columns, (field("file"),), key="experiment")


def lint(experiment: str, *, options: Options = DEFAULTS) -> int:
    """Check an experiment file: every error with its line, in one pass."""
    from chaos.experiment.lint import BadExperiment, read_experiment
    from lab.runs.prepare import find

    path = find(experiment)
    problems: tuple[Any, ...] = ()
    try:
        read_experiment(path)
    except BadExperiment as error:
        problems = error.problems
    if options.output in (Format.JSON, Format.YAML):
        items = [str(p) for p in problems]
        document({"kind": "LintReport", "file": str(path), "items": items}, options.output)
    elif problems:
        for problem in problems:
            say(str(problem))
        say(f"{len(problems)} errors")
    else:
        plain(f"{path.name}: no errors")
    return 4 if problems else 0


def plan(
    experiment: str, *, seed: Seed = None, tpm: Tpm = None, options: Options = DEFAULTS
) -> None:
    """What an experiment would do with this seed: every target and time; nothing is started."""
    import msgspec

    from chaos.experiment.plan import dump_plan, render

    made = _prepare(experiment, seed, tpm, "sim").plan
    if options.output in (Format.JSON, Format.YAML):
        answer = msgspec.json.decode(dump_plan(made))
        document({"kind": "Plan", **answer}, options.output)
    else:
        plain(render(made))


def _prepare(experiment: str, seed: int | None, tpm: str | None, mode: str) -> Prepared:
    from chaos.errors import ChaosError
    from lab.runs.prepare import prepare

    changes = {"tpm": tpm or ("model" if mode == "sim" else None)}
    try:
        return prepare(experiment, seed, changes)
    except ChaosError as error:
        raise _bad(experiment, error) from None


def _bad(experiment: str, error: ChaosError) -> KeysteadError:
    """Each line of the message names its place and fix already."""
    fix = f"correct the lines named; `keystead chaos lint {experiment}` shows them all"
    return KeysteadError(error.id, f"{experiment}:\n{error.text}", fix)


def run(
    experiment: str,
    *,
    mode: Annotated[Literal["lab", "sim"], Parameter(help="Real processes or virtual time.")],
    seed: Seed = None,
    tpm: Tpm = None,
    on: Annotated[str, Parameter(help="A running lab, instead of one of its own.")] = "",
    options: Options = DEFAULTS,
) -> int:
    """Run an experiment: `keystead chaos run edge-outage-reboot --mode sim --seed 7`.

    In lab mode it starts a lab of its own and removes it. Exit codes: 0 pass, 1 fail,
    2 unknown, 3 steady state not met, 4 bad file, 5 harness error, 6 not recovered in time.
    """
    from lab.runs.play import begin, play_sim

    if on:
        if mode == "sim":
            raise KeysteadError("KS-USE-003", "--on names a lab of real processes: --mode lab")
        return asyncio.run(_on_running(experiment, seed, Options(on, options.output)))
    prepared = _prepare(experiment, seed, tpm, mode)
    folder = begin(prepared, mode)
    say(f"run {folder.run}: {prepared.plan.title} (seed {prepared.plan.seed})")
    if mode == "sim":
        return _report(play_sim(prepared, folder), folder, options)
    return _report(asyncio.run(_in_own_lab(prepared, folder)), folder, options)


async def _in_own_lab(prepared: Prepared, folder: RunFolder) -> Verdict:
    """Ctrl-C cancels the engine, which heals and gives the verdict 130."""
    from lab.runs.play import play_lab

    task = asyncio.get_running_loop().create_task(play_lab(prepared, folder, _tell))
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _on_running(experiment: str, seed: int | None, options: Options) -> int:
    from chaos.errors import ChaosError
    from chaos.experiment.lint import read_experiment
    from chaos.experiment.plan import plan as make_plan
    from lab.api.remote import Remote
    from lab.runs.play import begin
    from lab.runs.prepare import Prepared, find, seed_of
    from lab.supervise.state_folder import LabFolder
    from lab.topology.lab_file import LabFile
    from lab.topology.lab_file import plan as plan_topology

    async with Remote(LabFolder(options.name)) as lab:
        there = await lab.do(GetDirectory())
        record = LabFolder(options.name).record()
        if record is None:
            raise KeysteadError("KS-LAB-001")
        try:
            read = read_experiment(find(experiment))
            made = make_plan(read, there, seed_of(read, seed))
        except ChaosError as error:
            raise _bad(experiment, error) from None
        topology = plan_topology(LabFile.model_validate(record.file))
        folder = begin(Prepared(plan=made, topology=topology, text=read.text), "lab")
        await lab.follow(_progress)
        loop = asyncio.get_running_loop()
        task = loop.create_task(lab.do(ChaosPlay(folder.run)))
        stop = loop.create_task
        loop.add_signal_handler(signal.SIGINT, lambda: stop(lab.do(ChaosStop(folder.run))))
        verdict = await task
    return _report(verdict, folder, options)


def _progress(event: Any) -> None:
    from lab.api.wire import Progress

    if isinstance(event, Progress):
        say(event.text)


def _tell(phase: str, text: str) -> None:
    say(f"{phase}: {text}")


def _report(verdict: Verdict, folder: RunFolder, options: Options) -> int:
    """The verdict as JSON, or the checks as a table and the verdict in one line."""
    if options.output in (Format.JSON, Format.YAML):
        document(verdict, options.output)
        return verdict.exit_code
    columns = (field("result"), field("name", "CHECK"), field("text", "SEEN"))
    show({"items": verdict.checks}, options.output, columns, key="name")
    for left in verdict.left:
        say(f"still there: {left.id} ({left.kind}): {left.cure or left.seen}")
    for reason in verdict.reasons:
        say(f"because: {reason}")
    plain(
        f"{verdict.verdict.upper()} (exit {verdict.exit_code})  run {folder.run}  "
        f"seed {verdict.seed}  trace {verdict.trace_hash[:16]}"
    )
    if folder.record().mode == "sim":
        hint(f"keystead chaos replay {folder.run}")
    sys.stdout.flush()
    return verdict.exit_code


def replay(run: str, *, options: Options = DEFAULTS) -> int:
    """Play a stored run of the simulation again, and compare: exactly the same, or exit 5."""
    from lab.runs.play import replay as play_again

    folder, verdict = play_again(run)
    say(f"replay of {run}: the same trace, {verdict.trace_hash}")
    return _report(verdict, folder, options)


def runs(*, options: Options = DEFAULTS) -> None:
    """Stored runs, oldest first."""
    from lab.runs.store import all_runs

    items = []
    for folder in all_runs():
        record, result = folder.record(), folder.result()
        items.append(
            {
                "run": record.run,
                "experiment": record.experiment,
                "mode": record.mode,
                "tpm": record.tpm,
                "seed": record.seed,
                "verdict": result["verdict"] if result else "none",
                "exit_code": result["exit_code"] if result else None,
                "trace": result["trace_hash"] if result else "",
                "folder": str(folder.path),
            }
        )
    columns = tuple(field(n) for n in ("run", "mode", "tpm", "seed", "verdict"))
    wide = (field("exit_code"), field("trace"), field("folder"))
    show({"kind": "RunList", "items": items}, options.output, columns, wide, key="run")


def register(app: App) -> None:
    group = App(name="chaos", help="Experiments: declared faults, hypotheses, a verdict.")
    group.command(list_, name="list")
    for command in (lint, plan, run, replay):
        group.command(command)
    app.command(group)
    app.command(runs)
    app["get"].command(runs)
