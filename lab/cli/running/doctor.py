"""``doctor``: check the requirements of a lab, one fix per finding."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lab.cli.asked import Format
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
    from lab.doctor.findings import DoctorHealth
    from lab.doctor.probes import examine
    from lab.schema.answers.local import DoctorReport, ProbeFinding

    findings = examine(options.name, hosts, pack, pace)
    report = DoctorReport(items=tuple(ProbeFinding(**f._asdict()) for f in findings))
    columns = (field("probe"), field("health"), field("text", "FINDING"))
    show(report, options.output, columns, key="probe")
    for finding in findings:
        if finding.fix and options.output in (Format.TABLE, Format.WIDE):
            say(f"fix for {finding.probe}: {finding.fix}")
    return SETUP if any(f.health is DoctorHealth.PROBLEM for f in findings) else 0
