"""``load rate``: a load that runs is given another rate."""

from __future__ import annotations

from lab.cli.loads.results import tell_rate
from lab.cli.options import LAB_DEFAULTS, LabOptions


def rate(rate: str, run: str = "", *, options: LabOptions = LAB_DEFAULTS) -> None:
    """Change the rate of a running load, from now to its end.

    keystead load rate 400/s
    keystead load rate 400/s load-kmip-1

    RUN is needed if several loads run; the rate 0/s pauses the load. The later arrivals are drawn
    again from the seed, and the report shows the change. The rate of a load in virtual time cannot
    be changed; use steps.
    """
    from chaos.load.profile import read_rate
    from lab.cli.loads.load import read
    from lab.runs.load_control import tell, the_one
    from lab.schema.answers.load import LoadRate

    read("RATE", lambda: read_rate(rate))
    folder = the_one(run)
    changed = tell(folder, rate)
    answer = LoadRate(run=folder.run, rate=rate.strip(), was=changed.was, at=changed.at)
    tell_rate(answer, options)
