"""``report``: a stored run as an HTML file, as JUnit XML, or as annotations of a log."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.names import RunName
from lab.cli.output import plain, say
from lab.schema.errors import KeysteadError

Page = Annotated[
    Path | None,
    Parameter(name=["--output", "-o"], help="HTML file. Default: RUN.html."),
]
Junit = Annotated[Path | None, Parameter(help="File for JUnit XML: one case per check.")]
Hgrm = Annotated[
    Path | None,
    Parameter(help="Prefix of files for HdrHistogram percentiles, per operation and phase."),
]
Blocks = Annotated[
    Path | None,
    Parameter(help="Folder for SVG images of the blocks of a matrix run."),
]


def report(
    run: RunName,
    other: str = "",
    *,
    output: Page = None,
    junit: Junit = None,
    hgrm: Hgrm = None,
    blocks: Blocks = None,
    github: Annotated[
        bool, Parameter(negative="", help="Print annotations for a GitHub workflow.")
    ] = False,
    strict: Annotated[
        bool,
        Parameter(negative="", help="In JUnit XML and annotations, count unknown as an error."),
    ] = False,
) -> None:
    """Write a report of a stored run as one HTML file that needs no network.

    The run is one of an experiment or of the matrix.

    keystead report edge-outage-reboot-sim-7
    keystead report edge-outage-reboot-sim-7 edge-outage-reboot-sim-8 -o both.html
    keystead report edge-outage-reboot-sim-7 --junit results.xml --github
    keystead report matrix-sim-1 --blocks pictures

    A second run is compared with the first. With --junit, --hgrm, --blocks or --github the HTML
    file is written only if -o names it.
    """
    from lab.local.stored.reports import (
        lines_of,
        place_for,
        write_drawings,
        write_percentiles,
        write_reports,
    )

    for_one = (junit, hgrm, blocks, github or None)
    if other and any(one is not None for one in for_one):
        raise KeysteadError("KS-USE-003", "--junit, --hgrm, --blocks and --github need one run")
    if output is None and all(one is None for one in for_one):
        output = Path(f"{run}-and-{other}.html" if other else f"{run}.html")
    for option, path in (("-o", output), ("--junit", junit), ("--hgrm", hgrm)):
        place_for(option, path)
    for path in write_reports(run, page=output, junit=junit, other=other, strict=strict):
        say(f"written: {path}")
    if blocks is not None:
        for path in write_drawings(run, blocks):
            say(f"written: {path}")
    if hgrm is not None:
        made = write_percentiles(run, hgrm)
        for path in made:
            say(f"written: {path}")
        if not made:
            say("no percentiles: no operation of this run succeeded")
    if github:
        for line in lines_of(run, strict=strict):
            plain(line)
