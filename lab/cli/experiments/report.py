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
    Parameter(name=["--output", "-o"], help="The HTML file; RUN.html when left out."),
]
Junit = Annotated[
    Path | None, Parameter(help="Write JUnit XML to this file: a case for each check.")
]
Hgrm = Annotated[
    Path | None,
    Parameter(help="Write HdrHistogram percentiles beside this file: each operation, phase."),
]
Blocks = Annotated[
    Path | None,
    Parameter(help="Draw each block of a run of the matrix into this folder, as SVG."),
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
        bool, Parameter(negative="", help="Print annotations that a GitHub workflow obeys.")
    ] = False,
    strict: Annotated[
        bool, Parameter(negative="", help="For pipelines, what is unknown is an error.")
    ] = False,
) -> None:
    """Write what a stored run was into one HTML file that opens anywhere, without a network.

    A run of an experiment, or of the matrix.

    keystead report edge-outage-reboot-sim-7
    keystead report edge-outage-reboot-sim-7 edge-outage-reboot-sim-8 -o both.html
    keystead report edge-outage-reboot-sim-7 --junit results.xml --github
    keystead report matrix-sim-1 --blocks pictures

    A second run is laid beside the first. With --junit, --hgrm, --blocks or --github the page is
    written only when -o names it.
    """
    from lab.local.reports import (
        lines_of,
        place_for,
        write_drawings,
        write_percentiles,
        write_reports,
    )

    for_one = (junit, hgrm, blocks, github or None)
    if other and any(one is not None for one in for_one):
        raise KeysteadError("KS-USE-003", "--junit, --hgrm, --blocks and --github are of one run")
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
            say("no operation of this run ended ok: there are no percentiles")
    if github:
        for line in lines_of(run, strict=strict):
            plain(line)
