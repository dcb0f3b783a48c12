"""SC-30 broken: the certificates that were recorded first count for ever."""

from __future__ import annotations

from typing import Any

from services.vcenter.trust.authority import Authority
from tests.mutations.bugs.planting import plant


async def _content(self: Any, row: Any, told: Any) -> None:
    """Nothing is recorded anew."""


plant(Authority, "_accept", lambda original: _content)
