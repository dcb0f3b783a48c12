"""``bench``: figures of this machine beside what they have to be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.options import LAB_DEFAULTS, LabOptions


def bench(
    *names: Annotated[str, Parameter(help="Benchmarks; all when left out.")],
    quick: Annotated[
        bool, Parameter(negative="", help="Less of everything: only to see that it works.")
    ] = False,
    repeat: Annotated[
        int | None, Parameter(help="How often each is run; else once, or three times.")
    ] = None,
    svg: Annotated[
        Path | None, Parameter(help="Draw how a lab's cost grows into this file (idle-growth).")
    ] = None,
    list_: Annotated[
        bool, Parameter(name="--list", negative="", help="Only list the benchmarks.")
    ] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Measure how fast and how small keystead is here: `keystead bench up-3 --repeat 5`.

    `keystead bench scale` measures what a lab costs as it grows, which takes longer.

    A bar is met by the median of the repeats; "at best" says that only the best one met it,
    which on a machine that does other things too may be the truth. Slow is no error: exit code
    0 when everything ran, 5 when a benchmark could not.
    """
    from lab.state.checkout import load_module

    command = load_module("benchmarks.command", "keystead bench")
    code: int = command.bench(
        names, quick=quick, repeat=repeat, svg=svg, list_=list_, options=options
    )
    return code
