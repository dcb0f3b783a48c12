"""``load validate``: what the simulation predicts beside what real processes do."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from lab.cli.output import plain, say
from lab.cli.values import duration
from lab.schema.errors import KeysteadError


def validate(
    profile: Path,
    *,
    rates: Annotated[str, Parameter(help="Operations a second, as 5,10,20.")] = "5,10,20",
    duration_: Annotated[str, Parameter(name="--duration", help="Of each rate.")] = "20s",
    hosts: Annotated[int, Parameter(help="Hosts of both labs.")] = 2,
    repeat: Annotated[int, Parameter(help="Times each rate is offered; medians count.")] = 3,
    seed: Annotated[int, Parameter(help="Of the arrivals.")] = 1,
) -> None:
    """Offer one load to real processes and to the simulation, and print the figures side by side.

    keystead load validate machine.yaml
    keystead load validate machine.yaml --rates 10,20,40,80 --hosts 4

    PROFILE is what `keystead load calibrate` measured on this machine. Rates rise until one is not
    served: there the lab is saturated.
    """
    import asyncio

    from lab.cli.loads.load import check_seed
    from lab.local.validation import list_lines
    from lab.local.validation import validate as compare

    try:
        wanted = [float(part) for part in rates.split(",")]
    except ValueError:
        wanted = []
    if not wanted or not all(0 < rate <= 5000 for rate in wanted):
        raise KeysteadError("KS-USE-003", f"--rates {rates}: numbers above 0, at most 5000")
    if not 1 <= hosts <= 50:
        raise KeysteadError("KS-USE-003", f"--hosts {hosts}: 1 to 50")
    if not 1 <= repeat <= 20:
        raise KeysteadError("KS-USE-003", f"--repeat {repeat}: 1 to 20")
    check_seed(seed)
    seconds = duration("--duration", duration_)
    if not 1 <= seconds <= 600:
        raise KeysteadError("KS-USE-003", f"--duration {duration_}: 1s to 10m")
    found = asyncio.run(compare(profile, hosts, wanted, seconds, seed, repeat, say))
    for line in list_lines(found):
        plain(line)
