"""``report``: what a run was, as JUnit XML, or as annotations of a pipeline's log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.output import plain, say
from lab.errors import KeysteadError

Junit = Annotated[
    Path | None, Parameter(help="Write JUnit XML to this file: a case for each check.")
]


def report(
    run: str,
    *,
    junit: Junit = None,
    github: Annotated[
        bool, Parameter(negative="", help="Print annotations that a GitHub workflow obeys.")
    ] = False,
    strict: Annotated[
        bool, Parameter(negative="", help="What is unknown is an error, and not skipped.")
    ] = False,
) -> None:
    """Report a stored run to a pipeline.

    keystead report edge-outage-reboot-sim-7 --junit results.xml
    keystead report edge-outage-reboot-sim-7 --github
    """
    from lab.api.reports import annotations_of, junit_of, place_for, write

    if junit is None and not github:
        raise KeysteadError("KS-USE-003", "what shall be made: --junit FILE, --github")
    place_for("--junit", junit)
    if junit is not None:
        write(junit, junit_of(run, strict=strict))
        say(f"written: {junit}")
    if github:
        for line in annotations_of(run, strict=strict):
            plain(line)
