"""The keeper broken: that a heal was not seen is known to this controller only."""

from __future__ import annotations

from typing import Any

from chaos.keeper import FaultKeeper, FaultState
from tests.mutations.bugs.planting import plant


def _forgetful(original: Any) -> Any:
    async def keep(self: Any) -> None:
        if all(kept.state is not FaultState.NOT_HEALED for kept in self._kept.values()):
            await original(self)

    return keep


plant(FaultKeeper, "_keep", _forgetful)
