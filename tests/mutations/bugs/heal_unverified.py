"""Faults broken: what was told to heal leaves the list without a look."""

from __future__ import annotations

from typing import Any

from chaos.keeper import FaultKeeper
from tests.mutations.bugs.planting import plant


async def _trusting(self: Any, *looks: Any) -> str:
    return ""


plant(FaultKeeper, "_until_empty", lambda original: _trusting)
