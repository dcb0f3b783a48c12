"""``load calibrate``: a profile of service times, measured on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.output import plain, say
from lab.schema.errors import KeysteadError

MOST_HOSTS = 50
MOST_OPERATIONS = 2_000


def calibrate(
    file: Path,
    *,
    hosts: Annotated[int, Parameter(help="Hosts of the lab that is measured.")] = 10,
    operations: Annotated[int, Parameter(help="Operations of each kind.")] = 200,
) -> None:
    """Measure a lab of real processes on this machine, and write a profile of its service times.

    keystead load calibrate machine.yaml
    keystead load calibrate machine.yaml --hosts 4 --operations 500

    CPU time by class of message, disk and TPM. A Lab file uses it with
    `service_times: {profile: /path/machine.yaml}`. On a busy machine repeat it and compare.
    """
    import asyncio

    from lab.local.calibration import calibrate as measure
    from lab.local.calibration import write_profile

    for name, value, most in (
        ("--hosts", hosts, MOST_HOSTS),
        ("--operations", operations, MOST_OPERATIONS),
    ):
        if not 1 <= value <= most:
            raise KeysteadError("KS-USE-003", f"{name} {value}: 1 to {most}")
    if file.is_dir() or not file.absolute().parent.is_dir():
        raise KeysteadError("KS-USE-003", f"{file}: no file can be written there")
    profile = asyncio.run(measure(hosts, operations, say))
    try:
        write_profile(profile, file)
    except OSError as error:
        raise KeysteadError("KS-USE-003", f"{file}: {error.strerror}") from None
    for role, node in profile["nodes"].items():
        for kind, time in node["times"].items():
            plain(f"{role:8} {kind:24} {time['mean']:>14}  spread {time['spread']}")
