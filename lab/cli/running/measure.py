"""``bench``: the benchmarks of keystead, compared with their limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.options import LAB_DEFAULTS, LabOptions


def bench(
    *names: Annotated[str, Parameter(help="Benchmarks. Default: all.")],
    quick: Annotated[
        bool, Parameter(negative="", help="Reduced size, to check that the benchmarks work.")
    ] = False,
    repeat: Annotated[
        int | None, Parameter(help="Runs of each benchmark. Default: one or three.")
    ] = None,
    svg: Annotated[
        Path | None, Parameter(help="SVG file for the chart of a lab's cost (idle-growth).")
    ] = None,
    list_: Annotated[
        bool, Parameter(name="--list", negative="", help="Only list the benchmarks.")
    ] = False,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Run benchmarks of speed and memory on this machine: `keystead bench up-3 --repeat 5`.

    `keystead bench scale` measures the cost of growing labs, which takes longer.

    The median of the runs is compared with a limit; "at best" means that only the best run met
    it, for example on a busy machine. A missed limit is not an error: exit code 0 when all
    benchmarks ran, 5 when one failed to run.
    """
    from lab.state.checkout import load_module

    command = load_module("benchmarks.command", "keystead bench")
    code: int = command.bench(
        names, quick=quick, repeat=repeat, svg=svg, list_=list_, options=options
    )
    return code
