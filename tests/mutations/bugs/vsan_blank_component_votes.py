"""VSAN-04 broken: a component that was made again after a loss votes before anybody has told it of
the writes that the lost one had seen."""

from __future__ import annotations

from typing import Any

from services.esxi.vsan import components, label
from tests.mutations.bugs.planting import plant


def _not_blank(original: Any) -> Any:
    def placed(**fields: Any) -> label.PlacedComponent:
        made: label.PlacedComponent = original(**{**fields, "blank": False})
        return made

    return placed


plant(components, "PlacedComponent", _not_blank)
