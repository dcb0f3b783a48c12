"""``conformance``: test assertions about key persistence in labs."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from lab.cli.asked import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import document, is_document, plain, say
from lab.cli.progress import Style, telling


def play(
    *,
    assertion: Annotated[list[str] | None, Parameter(help="A01 to A30. Default: all.")] = None,
    mode: Annotated[Literal["sim", "lab"], Parameter(help="Virtual time or processes.")] = "sim",
    seed: Annotated[int, Parameter(help="Seed of the simulation.")] = 1,
    quick: Annotated[bool, Parameter(help="Only a part of the truth table (A23).")] = False,
    progress: Annotated[Style, Parameter(help="How to show progress.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Test the conformance assertions, each in small labs, in virtual or real time.

            keystead conformance --quick
            keystead conformance --assertion A03 --assertion A12 -o json

    Prints one line per assertion: passed or failed, and the observation. A23 is the whole truth
    table and takes minutes; with --quick it plays a part. Exit codes: 0 all passed, 1 one failed.
    """
    from lab.local.conformance import conformance

    style = Style.NONE if options.quiet else progress
    with telling(style, "conformance") as report:
        answer = conformance(assertion or (), mode=mode, seed=seed, quick=quick, report=report)
    if is_document(options.output):
        document(answer, options.output)
        return answer.exit_code
    for one in answer.items:
        if options.output is Format.NAME:
            plain(one.id)
            continue
        what = f"it needs {one.needs}" if one.needs else one.seen
        plain(f"{one.id} {one.standing.value}: {one.title}: {what}")
    say(
        f"{answer.passed} passed, {answer.failed} failed, {answer.not_available} not available; "
        f"seed {answer.seed}, {answer.seconds:g} s"
    )
    return answer.exit_code
