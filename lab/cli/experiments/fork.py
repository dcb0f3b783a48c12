"""``chaos fork``: what if, from a moment of a stored run on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.experiments.chaos import show_progress, stopping
from lab.cli.names import COMPLETERS, RunName
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, hint, plain
from lab.cli.values import assignments, duration

if TYPE_CHECKING:
    from chaos.progress import Progress
    from chaos.verdict import Verdict
    from lab.runs.store import RunFolder
    from services.runtime.sim.runner import Stopping


def fork(
    run: RunName,
    kind: Annotated[
        str,
        Parameter(
            help="Kind of fault, as in experiment files: link.cut.", completer=COMPLETERS["fault"]
        ),
    ],
    *values: Annotated[str, Parameter(help="Parameters of the fault as NAME=VALUE.")],
    at: Annotated[str, Parameter(help="Time of the run at which the fault begins: 90s, 4m.")],
    for_: Annotated[
        str,
        Parameter(
            name="--for",
            help="Length of the fault in lab time. Default: to the end of the fault phase.",
        ),
    ] = "",
    other_code: Annotated[bool, Parameter(help="Fork even if the code has changed.")] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Fork a stored run of the simulation: play it again with one more fault, and compare.

    keystead chaos fork edge-outage-reboot-sim-7 host.power_loss on=esxi-002 --at 4m --for 30s
    keystead chaos fork edge-outage-reboot-sim-7 link.cut between=[vcenter,kms] --at 90s

    Up to that time the new run is the same, record by record; exit code 5 if it differs. The exit
    code is else that of the new run: 0 pass, 1 fail. `keystead report RUN FORK` draws both.
    """
    from lab.local.stored.reports import describe_fork

    with show_progress(quiet=options.quiet) as show:
        folder, verdict = play_fork(
            run,
            kind,
            *values,
            at=at,
            for_=for_,
            other_code=other_code,
            show=show,
            stopping=stopping,
        )
    answer = describe_fork(folder.run, verdict)
    if options.output in (Format.JSON, Format.YAML):
        document(answer, options.output)
        return verdict.exit_code
    if options.output is Format.NAME:
        plain(folder.run)
        return verdict.exit_code
    for text in answer.differences:
        plain(text)
    plain(f"{verdict.verdict.upper()} (exit {verdict.exit_code})  run {folder.run}")
    hint(f"keystead report {run} {folder.run}")
    return verdict.exit_code


def play_fork(
    run: str,
    kind: str,
    *values: str,
    at: str,
    for_: str = "",
    other_code: bool = False,
    show: Progress,
    stopping: Stopping,
) -> tuple[RunFolder, Verdict]:
    """Fork a run as the words of a command line say. Errors as ``lab.play.fork.fork``, and
    KS-USE-003 for words that are no time or no value."""
    from lab.play.fork import fork as fork_run

    return fork_run(
        run,
        duration("--at", at),
        kind.replace("-", "_"),
        assignments("value", values),
        lasts_s=duration("--for", for_) if for_ else None,
        other_code=other_code,
        show=show,
        stopping=stopping,
    )
