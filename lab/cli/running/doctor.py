"""Commands about this machine: ``doctor`` checks the requirements of a lab, one fix per finding;
``bench`` compares the benchmarks with their limits.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.invocation import Format
from lab.cli.options import LAB_DEFAULTS, LabOptions
from lab.cli.output import say, show
from lab.schema.errors import SETUP, KeysteadError
from lab.schema.tables import field


def doctor(
    *,
    hosts: Annotated[int, Parameter(help="Number of hosts of the lab.")] = 3,
    pack: Annotated[int, Parameter(help="Number of hosts in one process.")] = 1,
    pace: Annotated[float, Parameter(help="Pace of the lab.")] = 30,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Check the requirements of a lab: broker, TPM, ports, files, memory.

    With --hosts it estimates whether this machine can run a lab of that size. Exit code 78 if there
    is a problem.

    keystead doctor
    keystead doctor --hosts 500 --pack 50
    """
    if not 0 <= hosts <= 100_000:
        raise KeysteadError("KS-USE-003", f"--hosts {hosts}: from 0 to 100000")
    if not 1 <= pack <= 500:
        raise KeysteadError("KS-USE-003", f"--pack {pack}: from 1 to 500")
    if not 0 < pace <= 1000:
        raise KeysteadError("KS-USE-003", f"--pace {pace:g}: above 0, at most 1000")
    from lab.doctor.probes import DoctorHealth, examine
    from lab.schema.answers.local import DoctorReport, ProbeFinding

    findings = examine(options.name, hosts, pack, pace)
    report = DoctorReport(items=tuple(ProbeFinding(**f._asdict()) for f in findings))
    columns = (field("probe"), field("health"), field("text", "FINDING"))
    show(report, options.output, columns, key="probe")
    for finding in findings:
        if finding.fix and options.output in (Format.TABLE, Format.WIDE):
            say(f"fix for {finding.probe}: {finding.fix}")
    return SETUP if any(f.health is DoctorHealth.PROBLEM for f in findings) else 0


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
