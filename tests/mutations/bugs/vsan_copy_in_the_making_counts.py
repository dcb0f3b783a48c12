"""VSAN-04 broken: a copy in the making counts when the group with its original is not mounted."""

from __future__ import annotations

from typing import Any

from services.esxi.vsan import groups
from services.esxi.vsan.groups import DiskGroup, DiskGroups
from services.esxi.vsan.label import PlacedComponent
from tests.mutations.bugs.planting import plant


def _what_is_seen(original: Any) -> Any:
    def find(self: DiskGroups, name: str) -> tuple[DiskGroup, str, PlacedComponent] | None:
        places = self.places(name)
        return min(places, key=lambda place: groups._order(place[2]), default=None)

    return find


plant(DiskGroups, "find", _what_is_seen)
