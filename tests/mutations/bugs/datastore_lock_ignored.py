"""Locks broken: two hosts may run one VM."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import power
from tests.mutations.bugs.planting import plant


async def _take(datastore: Any, vm: Any) -> None:
    """The lock is not asked for."""


plant(power, "take_lock", lambda original: _take)
