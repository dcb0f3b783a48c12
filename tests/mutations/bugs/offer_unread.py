"""A target goes on with what was frozen whenever it gets the lock, offered to it or not."""

from __future__ import annotations

from typing import Any

from services.esxi.migration import incoming
from tests.mutations.bugs.planting import plant


def _trusting(original: Any) -> Any:
    async def offered(host: Any, expected: Any) -> Any:
        return expected.config

    return offered


plant(incoming, "_read_offered_config", _trusting)
