"""What does not fit together in the part of a Lab file that says what its bus is."""

from __future__ import annotations

from collections.abc import Iterator

from lab.topology.model import LabFields

Fault = tuple[tuple[str | int, ...], str]


def bus_misfits(file: LabFields) -> Iterator[Fault]:
    """Path below ``bus`` and text of all that is wrong there."""
    bus = file.bus
    if bus.url and bus.servers > 1:
        yield ("servers",), "how many servers somebody else runs is said by their addresses: `url`"
    if bus.account and not bus.url:
        yield ("account",), "an account is for servers that somebody else runs: `url`"
    if bus.authority and not bus.url.startswith("tls:"):
        yield ("authority",), "an authority is for servers that are reached by tls://"
    if bus.url and any(machine.pool for machine in file.machines):
        text = "hosts of a pool come with machines, and no administrator has heard of them"
        yield ("url",), f"{text}: such a lab has its bus on servers of its own"
