"""``doctor``: try what a lab needs, one fix per finding."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from lab.cli.options import LAB_DEFAULTS, Format, LabOptions
from lab.cli.output import say, show
from lab.schema.errors import SETUP, KeysteadError
from lab.schema.tables import field


def doctor(
    *,
    hosts: Annotated[int, Parameter(help="For a lab of that many hosts.")] = 3,
    pack: Annotated[int, Parameter(help="And that many hosts in one process.")] = 1,
    pace: Annotated[float, Parameter(help="And of that pace.")] = 30,
    options: LabOptions = LAB_DEFAULTS,
) -> int:
    """Try what a lab needs: a broker, a TPM, a port, files, memory. Exit code 78 on a problem.

    With --hosts it foretells whether a lab of that size finds room here.

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
