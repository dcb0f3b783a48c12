"""Which objects of a vSAN datastore are accessible. Pure.

Each component has one vote. An object is accessible with more than half of the votes, and a whole
replica among them: of two replicas and a witness, any one may be absent (VSAN-04).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from protocol.messages.vcenter.vsan import VsanObject, VsanPlace
from protocol.terms import NodeName
from protocol.vsan import ComponentKind, ComponentState, VsanDiskGroup
from services.vcenter.vsan.rows import VsanPlacement


def objects(
    placed: Mapping[str, Sequence[VsanPlacement]],
    groups: Mapping[NodeName, Sequence[VsanDiskGroup]],
) -> tuple[VsanObject, ...]:
    """Every object with its components; ``groups``: of the hosts that answer."""
    return tuple(
        _object(name, tuple(_place(name, placement, groups) for placement in placed[name]))
        for name in sorted(placed)
    )


def _place(
    name: str, placement: VsanPlacement, groups: Mapping[NodeName, Sequence[VsanDiskGroup]]
) -> VsanPlace:
    states = [
        component.state
        for group in groups.get(placement.host, ())
        for component in group.components
        if component.object == name
    ]
    state = ComponentState.ACTIVE if ComponentState.ACTIVE in states else None
    return VsanPlace(
        host=placement.host,
        kind=placement.kind.value,
        state=state or (states[0] if states else ComponentState.ABSENT),
    )


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
    """The first object that would not be accessible without that host; None when there is none."""
    others = {name: found for name, found in groups.items() if name != host}
    return next((o.object for o in objects(placed, others) if not o.accessible), None)
