"""``kmip``: a key server without a lab."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, is_document, plain, say
from lab.cli.progress import Style, telling


def cases(
    folder: Path,
    *,
    progress: Annotated[Style, Parameter(help="How progress is told.")] = Style.AUTO,
    options: Options = DEFAULTS,
) -> int:
    """Play conversations in KMIP's XML (test cases of OASIS), each against a fresh key server.

    keystead kmip cases kmip-1.2
    keystead kmip cases kmip-1.2 -o json

    Requests and answers go through the bytes of KMIP. A file passes when every field that it
    expects is there with its value; dates, and what a server draws, are judged by their kind.
    It is skipped, and says why, when it needs what is not built. Exit codes: 0 none failed, 1
    one did.
    """
    from lab.api.kmip import cases as play

    style = Style.NONE if options.quiet else progress
    with telling(style, "conversations") as report:
        answer = play(folder, report)
    if is_document(options.output):
        document(answer, options.output)
        return 1 if answer.failed else 0
    for one in answer.cases:
        what = f"{one.result}: {one.why}" if one.why else one.result
        plain(one.file if options.output is Format.NAME else f"{one.file} {what}")
    say(f"{answer.passed} passed, {answer.failed} failed, {answer.skipped} skipped")
    return 1 if answer.failed else 0
