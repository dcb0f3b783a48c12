"""Faults broken: links that were cut stay so when that is taken back, and nobody looks."""

from __future__ import annotations

from typing import Any

from chaos.faults.links import LinkFault
from tests.mutations.bugs.planting import plant


async def _nothing(self: Any, lab: Any, notes: Any) -> None:
    """The rules stay where they are."""


async def _gone(self: Any, lab: Any, notes: Any) -> str:
    return ""


plant(LinkFault, "heal", lambda original: _nothing)
plant(LinkFault, "verify_heal", lambda original: _gone)
