"""The host broken: a VM's files change without its lock, also while it runs elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.esxi.vms import registration
from tests.mutations.bugs.planting import plant


def _unlocked(_: Any) -> Any:
    @asynccontextmanager
    async def locked(datastore: Any, vm: Any) -> AsyncIterator[None]:
        yield

    return locked


plant(registration, "hold_lock", _unlocked)
