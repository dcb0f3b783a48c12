"""Which lanes of a large lab are drawn: hosts that went the same way are one, and what is odd is
never left out before what is not."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from typing import Final

from chaos.report.axis import Axis
from chaos.report.lanes import Lane

MOST_LANES: Final = 160
"""Of a larger lab so many are drawn, about: the last host has all of its VMs."""
_APART: Final = 6.0
"""Pixels by which the same change of two hosts may be apart, about, and they went the same way."""


@dataclass(frozen=True)
class Selected:
    """What is drawn, how many more hosts went as a drawn one did (by its name), and in a line what
    is not drawn; empty when all is."""

    lanes: tuple[Lane, ...]
    alike: dict[str, int] = field(default_factory=dict)
    told: str = ""


def select(all_: Sequence[Lane], pinned: Set[str], axis: Axis) -> Selected:
    """``pinned`` are names that show a violation: they, and what is odd, stand for themselves."""
    if len(all_) <= MOST_LANES:
        return Selected(tuple(all_))
    hosts = _by_host(all_)
    odd = {lane.name for lane in all_ if lane.name in pinned or _lasts(lane)}
    groups: dict[object, list[list[Lane]]] = {}
    for lanes in hosts:
        kind = tuple(sorted(_way(lane, axis) for lane in lanes))
        alone = lanes[0].name if any(lane.name in odd for lane in lanes) else ""
        groups.setdefault((alone, kind), []).append(lanes)
    # What is odd first, then what changed, then the larger group.
    order = sorted(
        groups.items(),
        key=lambda item: (
            not item[0][0],  # type: ignore[index]
            not any(lane.changes for lane in item[1][0]),
            -len(item[1]),
        ),
    )
    return _select_groups([group for _, group in order], hosts)


def _select_groups(groups: Sequence[list[list[Lane]]], hosts: Sequence[list[Lane]]) -> Selected:
    chosen: dict[str, int] = {}
    room = MOST_LANES
    for group in groups:
        if room > 0:
            chosen[group[0][0].name] = len(group) - 1
            room -= len(group[0])
    lanes = tuple(lane for found in hosts if found[0].name in chosen for lane in found)
    alike = {name: more for name, more in chosen.items() if more}
    said = []
    if alike:
        said.append(f"+n: so many more hosts went the same way ({sum(alike.values())} in all)")
    missing = len(hosts) - len(chosen) - sum(alike.values())
    if missing:
        said.append(f"{missing} more hosts are not drawn")
    return Selected(lanes, alike, "; ".join(said))


def _by_host(all_: Sequence[Lane]) -> list[list[Lane]]:
    """The lane of each host with those of its VMs."""
    found: dict[str, list[Lane]] = {}
    for lane in all_:
        found.setdefault(lane.host or lane.name, []).append(lane)
    return list(found.values())


def _lasts(lane: Lane) -> bool:
    return any(not odd.late for odd in lane.odd())


def _way(lane: Lane, axis: Axis) -> tuple[object, ...]:
    """What it went through, and when; equal for lanes that look the same."""
    strips = (lane.actual, lane.expected)
    return (
        lane.vm,
        *(
            (*one.states, str(round(axis.x(one.begin) / _APART)))
            for strip in strips
            for one in strip
        ),
    )
