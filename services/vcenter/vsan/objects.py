"""Which objects of a vSAN datastore are accessible. Pure.

Each component has one vote. An object is accessible with more than half of the votes, and a whole
replica among them: of two replicas and a witness, any one may be absent (VSAN-04). A replica is
whole when no other component has seen a later write.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.messages.vcenter.vsan import VsanObject, VsanPlace
from protocol.terms import NodeName
from protocol.vsan import (
    ComponentKind,
    ComponentState,
    VsanComponent,
    VsanDiskGroup,
    VsanPlacement,
)


def objects(
    placed: Mapping[str, Sequence[VsanPlacement]],
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
) -> tuple[VsanObject, ...]:
    """Every object with its components; ``groups``: of the hosts that answer."""
    found = []
    for name in sorted(placed):
        newest = _newest(name, placed[name], groups)
        places = tuple(_place(name, one, groups, newest) for one in placed[name])
        found.append(_object(name, places))
    return tuple(found)


def _place(
    name: str,
    placement: VsanPlacement,
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
    newest: int,
) -> VsanPlace:
    states = [
        ComponentState.STALE if _is_old(component, newest) else component.state
        for component in _parts(name, groups.get(placement.host, ()))
    ]
    state = ComponentState.ACTIVE if ComponentState.ACTIVE in states else None
    return VsanPlace(
        host=placement.host,
        kind=placement.kind.value,
        state=state or (states[0] if states else ComponentState.ABSENT),
    )


def _parts(name: str, groups: Sequence[VsanDiskGroup]) -> list[VsanComponent]:
    return [part for group in groups for part in group.components if part.object == name]


def _newest(
    name: str,
    placed: Sequence[VsanPlacement],
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
) -> int:
    parts = [part for place in placed for part in _parts(name, groups.get(place.host, ()))]
    return max((part.stamp for part in parts), default=0)


def _is_old(part: VsanComponent, newest: int) -> bool:
    """Whether it is a replica of an older write; a witness with an older write keeps its vote."""
    active = part.state is ComponentState.ACTIVE and part.kind is ComponentKind.REPLICA
    return active and part.stamp < newest


def _object(name: str, components: tuple[VsanPlace, ...]) -> VsanObject:
    active = [c for c in components if c.state is ComponentState.ACTIVE]
    whole = any(c.kind == ComponentKind.REPLICA.value for c in active)
    accessible = whole and 2 * len(active) > len(components)
    return VsanObject(object=name, accessible=accessible, components=components)


def survives_without(
    placed: Mapping[str, Sequence[VsanPlacement]],
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
    host: NodeName,
) -> str | None:
    """The first object that would be inaccessible without that host; None when there is none."""
    others = {name: found for name, found in groups.items() if name != host}
    return next((o.object for o in objects(placed, others) if not o.accessible), None)
