"""``load rate``: a load that runs is given another rate."""

from __future__ import annotations

from lab.cli.loads.results import tell_rate
from lab.cli.options import LAB_DEFAULTS, LabOptions


def rate(rate: str, run: str = "", *, options: LabOptions = LAB_DEFAULTS) -> None:
    """Give a load that runs another rate, from now to its end.

    keystead load rate 400/s
    keystead load rate 400/s load-kmip-1

    RUN is wanted where several loads run; 0/s is a pause. What is offered from then on is drawn
    anew from the seed, and the change stands in the load's report. A load in virtual time is not
    changed: give it steps.
    """
    from chaos.load.profile import read_rate
    from lab.cli.loads.load import read
    from lab.runs.door import tell, the_one
    from lab.schema.answers.load import LoadRate

    read("RATE", lambda: read_rate(rate))
    folder = the_one(run)
    changed = tell(folder, rate)
    answer = LoadRate(run=folder.run, rate=rate.strip(), was=changed.was, at=changed.at)
    tell_rate(answer, options)
