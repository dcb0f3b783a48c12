"""``chaos list|lint|plan|run|stop|replay`` and ``runs``."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import msgspec
from cyclopts import Parameter

from lab.cli.arguments import ExperimentName, RunName
from lab.cli.interrupts import INTERRUPTED
from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, hint, plain, say, show
from lab.cli.progress import LINE_EVERY_S
from lab.schema.answers.experiments import PlayedExperiment, PlayedExperiments
from lab.schema.commands import ChaosPlay, ChaosStop
from lab.schema.errors import KeysteadError
from lab.schema.tables import field, moment
from lab.state.state_folder import LabFolder
from protocol.printable import printable

if TYPE_CHECKING:
    from chaos.verdict import Verdict
    from lab.runs.store import RunFolder

if TYPE_CHECKING:
    from chaos.progress import Progress, ProgressStep

if TYPE_CHECKING:
    from chaos.progress import Progress as ShowProgress
    from chaos.verdict import Verdict
    from lab.play.prepare import Prepared
    from lab.runs.store import RunFolder

BAD_FILE = 4  # exit code
UNKNOWN = "KS-LAB-007"  # the lab ended, so the result of the command is unknown
Seed = Annotated[int | None, Parameter(help="Seed. Default: the seed of the file.")]
Given = Annotated[
    list[str] | None,
    Parameter(
        name="--with", negative="", help="Parameter of the file, NAME=VALUE; can be repeated."
    ),
]
Pace = Annotated[float | None, Parameter(help="Lab seconds per real second, for --mode lab.")]
Tpm = Annotated[
    Literal["libtpms", "model", "none"] | None,
    Parameter(help="Implementation of the TPMs; none: hosts without TPMs."),
]


def list_(*words: str, options: LabOptions = LAB_DEFAULTS) -> None:
    """List the experiments of keystead: all, or those that mention the given words.

    keystead chaos list vsan
    """
    from lab.local.experiment_files import experiments

    found = experiments(words)
    columns = (field("experiment", "NAME"), field("title"))
    show(found, options.output, columns, (field("file"),), key="experiment")


def lint(experiment: ExperimentName, *, options: LabOptions = LAB_DEFAULTS) -> int:
    """Check an experiment file, and list all its errors with their lines."""
    from lab.local.experiment_files import lint as look_through

    report = look_through(experiment)
    if options.output in (Format.JSON, Format.YAML):
        document(report, options.output)
    elif report.items:
        for problem in report.items:
            say(problem)
        say(f"{len(report.items)} errors")
    else:
        plain(f"{Path(report.file).name}: no errors")
    return BAD_FILE if report.items else 0


def plan(
    experiment: ExperimentName,
    *,
    seed: Seed = None,
    tpm: Tpm = None,
    given: Given = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """Show what an experiment will do with a seed: targets and times. Starts nothing."""
    from chaos.experiment.plan import render
    from lab.local.experiment_files import prepare_experiment

    made = prepare_experiment(experiment, seed, tpm, "sim", given or ()).plan
    if options.output in (Format.JSON, Format.YAML):
        document(made, options.output)
    else:
        plain(render(made))


def run(
    experiment: ExperimentName,
    *more: ExperimentName,
    mode: Annotated[Literal["lab", "sim"], Parameter(help="Real processes or virtual time.")],
    seed: Seed = None,
    tpm: Tpm = None,
    pace: Pace = None,
    on: Annotated[str, Parameter(help="Use this running lab instead of a new one.")] = "",
    scan: Annotated[
        bool, Parameter(help="Search all output of the run for keys in clear text (S1).")
    ] = False,
    report: Annotated[Path | None, Parameter(help="File for an HTML report of the run.")] = None,
    junit: Annotated[Path | None, Parameter(help="File for JUnit XML.")] = None,
    given: Given = None,
    negative_control: Annotated[
        bool, Parameter(help="Plant the bug of the file; exit code 0 if its checks fail.")
    ] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Run an experiment, or several one after the other with a table of their verdicts.

    keystead chaos run edge-outage-reboot --mode sim --seed 7
    keystead chaos run --mode lab $(keystead chaos list sc- -o name)

    In lab mode each experiment starts a new lab and removes it afterwards; on a busy machine use a
    lower `--pace`. Exit codes: 0 pass, 1 fail, 2 unknown, 3 steady state not met, 4 bad file,
    5 harness error, 6 not recovered in time; with several experiments the worst one.
    """
    files, quiet = {"--report": report, "--junit": junit}, options.quiet
    how = (mode, seed, tpm, pace, on, scan)
    if more:
        _of_one_run({**files, "--negative-control": negative_control})

        def play(name: str) -> tuple[RunFolder, Verdict]:
            return play_experiment(name, *how, given=given or (), control=False, quiet=quiet)

        return play_each((experiment, *more), play, options)
    if any(files.values()):
        from lab.local.stored.reports import place_for, write_reports

        for option, path in files.items():
            place_for(option, path)
    folder, verdict = play_experiment(
        experiment, *how, given=given or (), control=negative_control, quiet=quiet
    )
    code = _report(verdict, folder, options)
    if any(files.values()):
        for written in write_reports(folder.run, page=report, junit=junit):
            say(f"written: {written}")
    return _judge_control(verdict, folder) if negative_control else code


def _of_one_run(options: Mapping[str, object]) -> None:
    """Raise KS-USE-003 when one of these options is given with several experiments."""
    if given := [name for name, value in options.items() if value]:
        text = f"{' and '.join(given)}: name one experiment only"
        raise KeysteadError("KS-USE-003", text)


def play_experiment(
    experiment: str,
    mode: str,
    seed: int | None,
    tpm: str | None,
    pace: float | None,
    on: str,
    scan: bool,
    *,
    given: Sequence[str],
    control: bool,
    quiet: bool = False,
) -> tuple[RunFolder, Verdict]:
    """Play an experiment in a new lab, or on the running lab ``on``; a ``control`` has the planted
    bug of the file."""
    from lab.local.experiment_files import prepare_experiment
    from lab.play.prepare import begin

    if pace is not None and (on or mode == "sim"):
        why = "the running lab has its own pace" if on else "virtual time has no pace"
        raise KeysteadError("KS-USE-003", f"--pace {pace:g}: {why}")
    if on:
        if tpm is not None:
            raise KeysteadError("KS-USE-003", f"--tpm {tpm}: the running lab has its own TPMs")
        if mode == "sim":
            raise KeysteadError("KS-USE-003", "--on needs --mode lab")
        if scan:
            text = "--scan needs a new lab: the keys of a running lab were not collected"
            raise KeysteadError("KS-USE-003", text)
        return asyncio.run(_on_running(experiment, seed, given, on, quiet=quiet))
    made = prepare_experiment(experiment, seed, tpm, mode, given, pace)
    bug = made.plan.bug if control else ""
    if control and not (bug and mode == "sim"):
        text = "--negative-control needs --mode sim, and a file with `negative_control`"
        raise KeysteadError("KS-USE-003", text)
    folder = begin(made, mode, scan=scan, bug=bug)
    if not quiet:
        say(f"run {folder.run}: {made.plan.title} (seed {made.plan.seed})")
    with show_progress(quiet=quiet) as show:
        if mode == "lab":
            return folder, asyncio.run(_in_own_lab(made, folder, show))
        from lab.play.play import play_sim

        return folder, play_sim(made, folder, show, stopping)


def _judge_control(verdict: Verdict, folder: RunFolder) -> int:
    """0 when exactly the expected checks failed because of the planted bug."""
    from chaos.experiment.plan import load_plan
    from chaos.verdict import unlike

    plan = folder.read_decoded("plan.json", load_plan)
    if wrong := unlike(verdict, plan.expect):
        raise KeysteadError("KS-CHAOS-019", f"with {plan.bug}: {wrong}")
    say(f"negative control: with {plan.bug}, {', '.join(plan.expect)} failed as expected")
    return 0


async def _in_own_lab(prepared: Prepared, folder: RunFolder, show: ShowProgress) -> Verdict:
    """Ctrl-C cancels the engine, which heals and gives the verdict 130.

    This process is the lab's supervisor: a core file of it would have what a lab keeps secret.
    """
    from lab.play.own_lab import play_lab
    from services.runtime.forking.child import withhold_memory

    withhold_memory()
    task = asyncio.get_running_loop().create_task(play_lab(prepared, folder, show))
    stop_on_signals(task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _on_running(
    experiment: str, seed: int | None, given: Sequence[str], on: str, *, quiet: bool
) -> tuple[RunFolder, Verdict]:
    """The lab's supervisor plays it; Ctrl-C or SIGTERM asks it to stop, and waits for it."""
    from lab.local.experiment_files import begin_on
    from lab.local.remote import Remote

    there = LabFolder(on)
    async with Remote(there) as lab:
        folder = await begin_on(lab.do, there, experiment, seed, given)
        if not quiet:
            say(f"run {folder.run} on the lab {on}")
        with show_progress(quiet=quiet) as show:
            await lab.follow(lambda event: _progress(event, show))
            loop = asyncio.get_running_loop()
            task = loop.create_task(lab.do(ChaosPlay(folder.run)))
            stop_on_signals(lambda: loop.create_task(lab.do(ChaosStop(folder.run))))
            try:
                return folder, await task
            except KeysteadError as error:
                if error.id != UNKNOWN and not folder.history.exists():
                    folder.remove()  # the run was refused, and nothing was played
                raise


def _progress(event: Any, show: ShowProgress) -> None:
    """What a lab's supervisor says of a run there; see ``lab.serve.faults``."""
    from chaos.progress import ProgressStep
    from lab.schema.wire import Progress as PlayedProgress

    if isinstance(event, PlayedProgress):
        phase, _, text = event.text.partition(": ")
        length_s = float(event.total) if event.total else None
        show(ProgressStep(phase=phase, text=text, at=float(event.step), length_s=length_s))


def _report(verdict: Verdict, folder: RunFolder, options: LabOptions) -> int:
    """The verdict as JSON, or the checks as a table, what happened in a sentence, and the verdict
    in one line. With ``-o wide`` the checks that had nothing to judge are rows of the table."""
    if options.output in (Format.JSON, Format.YAML):
        document(verdict, options.output)
        return verdict.exit_code
    if options.output is Format.NAME:
        plain(folder.run)
        return verdict.exit_code
    from chaos.checks import arrange
    from chaos.experiment.plan import load_plan
    from lab.local.stored.reports import headline_of

    plan = folder.read_decoded("plan.json", load_plan)
    shown, idle = arrange(verdict.checks, faulted=plan.surely_faulty())
    if options.output is Format.WIDE:
        shown, idle = (*shown, *idle), ()
    columns = (field("result"), field("name", "CHECK"), field("text", "SEEN"))
    show({"items": shown}, options.output, columns, key="name")
    if idle:
        plain(f"nothing to judge for {', '.join(one.name for one in idle)}")
    for left in verdict.left:
        say(f"not healed: {left.id} ({left.kind}): {left.cure or left.seen}")
    for reason in verdict.reasons:
        say(f"because: {reason}")
    if told := headline_of(folder.run):
        plain(told)
    plain(
        f"{verdict.verdict.upper()} (exit {verdict.exit_code})  run {folder.run}  "
        f"seed {verdict.seed}  tpm {verdict.tpm_text or '-'}  "
        f"trace {verdict.trace_hash[:16]}"
    )
    if folder.record().mode == "sim":
        hint(f"keystead chaos replay {folder.run}")
    sys.stdout.flush()
    return verdict.exit_code


def new(experiment: str, *, options: LabOptions = LAB_DEFAULTS) -> None:
    """Write a commented experiment file to start from: `keystead chaos new my-outage`."""
    from lab.local.experiment_files import new as write

    made = write(experiment, Path.cwd())
    if options.output in (Format.JSON, Format.YAML):
        document(made, options.output)
        return
    plain(made.file)
    hint(f"keystead chaos run {made.file} --mode sim")


def replay(
    run: RunName,
    *,
    other_code: Annotated[bool, Parameter(help="Replay even if the code has changed.")] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Replay a stored run of the simulation, and compare: exit code 5 if it differs."""
    from lab.play.play import replay as play_again

    folder, verdict = play_again(run, other_code=other_code)
    say(f"replay of {run}: the same trace, {verdict.trace_hash}")
    return _report(verdict, folder, options)


def runs(
    *,
    experiment: Annotated[str, Parameter(help="Only runs of this experiment.")] = "",
    verdict: Annotated[str, Parameter(help="Only runs with this verdict, such as fail.")] = "",
    newest: Annotated[bool, Parameter(negative="", help="List the newest runs first.")] = False,
    last: Annotated[int | None, Parameter(help="Only this number of the last runs.")] = None,
    options: LabOptions = LAB_DEFAULTS,
) -> None:
    """List stored runs, oldest first: `keystead runs --newest --last 5 --verdict fail`."""
    from lab.local.stored.runs import runs as stored

    columns = (
        *(field(n) for n in ("run", "mode", "tpm", "seed", "verdict")),
        ("BEGAN", lambda row: moment(row.began)),
    )
    wide = (field("exit_code"), field("trace"), field("folder"))
    found = stored(experiment=experiment, verdict=verdict, newest=newest, last=last)
    show(found, options.output, columns, wide, key="run")
    for folder in found.damaged:
        say(f"a file of this run is damaged: {folder}")


# ---- playing -------------------------------------------------------------------------------------
# Progress of a run on stderr, and interrupts.

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
_ENDED: Final = b"\nkeystead: interrupted\n"
_HEALING: Final = b"\nkeystead: interrupted: everything is healed first, then the run is reported\n"


@contextmanager
def show_progress(*, quiet: bool = False) -> Iterator[Progress]:
    """Show progress: on a terminal in a line below the messages, else as lines of their own.

    ``quiet``: show none.
    """
    if quiet:
        yield lambda step: None
        return
    if not sys.stderr.isatty():
        yield _Lines().show
        return
    try:
        yield _below
    finally:
        sys.stderr.write(_CLEAR)
        sys.stderr.flush()


_CLEAR: Final = "\r\x1b[2K"


def _below(step: ProgressStep) -> None:
    """Rewrite the last line of a terminal.

    A live display of rich would need a thread; a process with threads cannot fork a run's worker.
    """
    told = f"{printable(step.phase)}: {printable(step.text)}\n" if step.text else ""
    sys.stderr.write(f"{_CLEAR}{told}{printable(step.where())}")
    sys.stderr.flush()


class _Lines:
    def __init__(self) -> None:
        self._at = time.monotonic()

    def show(self, step: ProgressStep) -> None:
        now = time.monotonic()
        if step.text or now - self._at >= LINE_EVERY_S:
            self._at = now
            say(step.line())


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C and SIGTERM call ``stop``; once more, they end this process at once."""
    if threading.current_thread() is not threading.main_thread():
        yield  # signals are the main thread's
        return
    times = 0

    def ask(number: int, frame: object) -> None:
        nonlocal times
        times += 1
        if times == 1:
            os.write(2, _HEALING)  # a stream that is in use cannot be used here
            stop()
            return
        if times == 2:  # a terminal that takes nothing does not hold up a third one
            os.write(2, _ENDED)
        os._exit(INTERRUPTED)

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def stop_on_signals(stop: Callable[[], object]) -> None:
    """As ``stopping``, for the running event loop; what is being healed cannot be interrupted, nor
    is the report that follows. Who interrupts the end of a run for the first time ends the command.

    Not by the loop's own handlers of signals: a loop that closes takes them back after the pipe
    that they write to, and a signal in between makes Python print a traceback.
    """
    loop = asyncio.get_running_loop()
    asked = False

    def ask(number: int, frame: object) -> None:
        nonlocal asked
        if asked:
            return
        if loop.is_closed():
            raise KeyboardInterrupt
        asked = True
        os.write(2, _HEALING)
        loop.call_soon_threadsafe(stop)

    for number in _SIGNALS:
        signal.signal(number, ask)


# ---- several -------------------------------------------------------------------------------------
# Several experiments by one command: each in its turn, then a table of how they ended.

_WORST_FIRST: Final = (130, 1, 6, 3, 5, 2, 4)
"""Exit codes of a run, by which the whole command ends; those of refusals come after them."""


def play_each(
    names: Sequence[str], play: Callable[[str], tuple[RunFolder, Verdict]], options: LabOptions
) -> int:
    """``play`` each of ``names`` to its run and verdict, and show them; the worst exit code.

    One that is refused is a row of its own, and the others are played. An interrupt is the end of
    the one that it met, and of all that come after it.
    """
    rows: list[PlayedExperiment] = []
    for name in names:
        begun = time.monotonic()
        try:
            folder, verdict = play(name)
            row = _build_played(name, folder.run, verdict)
        except KeysteadError as error:
            row = PlayedExperiment(
                experiment=name,
                verdict="refused",
                exit_code=error.exit_code,
                why=" ".join(f"{error.id}: {error}".split()),
            )
        except KeyboardInterrupt:
            row = PlayedExperiment(experiment=name, verdict="interrupted", exit_code=130)
        row = msgspec.structs.replace(row, seconds=round(time.monotonic() - begun, 1))
        rows.append(row)
        say(f"{name}: {row.verdict} (exit {row.exit_code}), {row.seconds:g} s")
        if row.exit_code == 130:
            break
    columns = tuple(map(field, ("experiment", "verdict", "exit_code", "seconds", "run", "why")))
    answer = PlayedExperiments(items=tuple(rows), left=tuple(names[len(rows) :]))
    show(answer, options.output, columns, key="experiment")
    if answer.left:
        say(f"not played: {', '.join(answer.left)}")
    return worst([row.exit_code for row in rows])


def _build_played(name: str, run: str, verdict: Verdict) -> PlayedExperiment:
    from chaos.checks.result import CheckOutcome

    bad = [check for check in verdict.checks if check.result is not CheckOutcome.PASS]
    why = verdict.reasons or tuple(f"{check.name}: {check.text}" for check in bad)
    return PlayedExperiment(
        experiment=name,
        verdict=verdict.verdict,
        exit_code=verdict.exit_code,
        run=run,
        why=why[0] if why and verdict.exit_code else "",
    )


def worst(codes: Sequence[int]) -> int:
    """The exit code that tells most of what went wrong; 0 when nothing did."""
    known = [code for code in _WORST_FIRST if code in codes]
    return next(iter(known), max(codes, default=0))
