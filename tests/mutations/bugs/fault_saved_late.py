"""The keeper broken: a fault is written down only when it is seen to bite."""

from __future__ import annotations

from typing import Any

from chaos.keeper import FaultKeeper, FaultState
from tests.mutations.bugs.planting import plant


def _late(original: Any) -> Any:
    async def keep(self: Any) -> None:
        if all(kept.state is not FaultState.BEGINNING for kept in self._kept.values()):
            await original(self)

    return keep


plant(FaultKeeper, "_keep", _late)
