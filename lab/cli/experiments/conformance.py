"""``conformance``: assertions about key persistence, each held by really doing it."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from lab.cli.options import LAB_DEFAULTS, Format, LabOptions
from lab.cli.output import document, is_document, plain, say
from lab.cli.progress import Style, telling


def play(
    *,
    assertion: Annotated[list[str] | None, Parameter(help="A01 to A30; all when left out.")] = None,
    mode: Annotated[Literal["sim", "lab"], Parameter(help="Virtual time or processes.")] = "sim",
    seed: Annotated[int, Parameter(help="Fixes what happens, in sim.")] = 1,
    quick: Annotated[bool, Parameter(help="Of the truth table (A23) only a part.")] = False,
    progress: Annotated[Style, Parameter(help="How progress is told.")] = Style.AUTO,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Play the conformance assertions, each on small labs of its own, in virtual time or real.

            keystead conformance --quick
            keystead conformance --assertion A03 --assertion A12 -o json

        A line for each: it passed or failed, with what was seen. A23 is the whole truth table, and
    takes minutes; with --quick it plays a part, and says which. Exit codes: 0 all passed, 1 one
    failed.
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
