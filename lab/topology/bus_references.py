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
    if file.machines and (bus.url or bus.servers > 1):
        text = "a lab on several machines has its bus on one server of its own: no other yet"
        yield (), text
