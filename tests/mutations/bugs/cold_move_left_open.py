"""HA-03 broken: what a vCenter that fell in a move of a VM that is off left open stays so."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.moves import VmMoves
from tests.mutations.bugs.planting import plant


def _forgets(original: Any) -> Any:
    def start(self: Any) -> None:
        return

    return start


plant(VmMoves, "start", _forgets)
plant(VmMoves, "follow", _forgets)
