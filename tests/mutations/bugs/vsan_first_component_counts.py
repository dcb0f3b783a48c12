"""VSAN-04 broken: of two components of an object that lie on a host the first one counts, however
old."""

from __future__ import annotations

from typing import Any

from services.esxi.vsan import groups
from tests.mutations.bugs.planting import plant


def _any_order(original: Any) -> Any:
    return lambda placed: (placed.moving, False, 0, 0)


plant(groups, "_order", _any_order)
