"""Locks broken: two hosts may run one VM."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.esxi.vms import power
from tests.mutations.bugs.planting import plant


@asynccontextmanager
async def _kept(datastore: Any, vm: Any) -> AsyncIterator[None]:
    """The lock is not asked for."""
    yield


plant(power, "lock_kept", lambda original: _kept)
