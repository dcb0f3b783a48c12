"""HA-03 broken: what a vCenter that fell in a move of a VM that is off left open stays so."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.cold_moves import ColdMoves
from tests.mutations.bugs.planting import plant


def _forgets(original: Any) -> Any:
    def start(self: Any) -> None:
        return

    return start


plant(ColdMoves, "start", _forgets)
plant(ColdMoves, "_follow", _forgets)
