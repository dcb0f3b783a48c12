"""Faults broken: no heal check looks; each says that its fault is gone."""

from __future__ import annotations

from typing import Any

from chaos.faults import FAULTS
from tests.mutations.bugs.planting import plant


async def _gone(self: Any, lab: Any, notes: Any) -> str:
    return ""


for owner in {cls for fault in FAULTS for cls in fault.__mro__ if "verify_heal" in vars(cls)}:
    plant(owner, "verify_heal", lambda original: _gone)
