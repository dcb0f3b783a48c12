"""The end of a run broken: what could not be healed at first is not tried once more."""

from __future__ import annotations

import builtins
from typing import Any

import chaos.engine as engine
from tests.mutations.bugs.planting import plant


def _once(original: Any) -> Any:
    async def heal_begun(self: Any) -> Any:
        vars(engine)["range"] = lambda tries: builtins.range(min(tries, 1))
        try:
            return await original(self)
        finally:
            del vars(engine)["range"]

    return heal_begun


plant(engine._Run, "_heal_begun", _once)
