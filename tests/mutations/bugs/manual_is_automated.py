"""HA-03 broken: DRS chooses hosts in a cluster whose automation level is manual."""

from __future__ import annotations

from typing import Any

from services.vcenter.tasks import power
from tests.mutations.bugs.planting import plant


def _always(original: Any) -> Any:
    def is_placed(vc: Any, row: Any) -> bool:
        return True

    return is_placed


plant(power, "_is_placed", _always)
