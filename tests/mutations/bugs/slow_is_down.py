"""STD-09 broken: a key server that is slow to answer is taken for one that does not."""

from __future__ import annotations

from typing import Any

from services.vcenter.providers.standard import StandardProvider
from tests.mutations.bugs.planting import plant

PATIENCE_S = 0.5


def _hasty(original: Any) -> Any:
    def init(self: Any, *given: Any, within_s: float, **more: Any) -> None:
        original(self, *given, within_s=PATIENCE_S, **more)

    return init


plant(StandardProvider, "__init__", _hasty)
