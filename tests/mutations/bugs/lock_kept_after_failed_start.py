"""The host broken: a VM whose start failed stays locked on the datastore, as long as this host
lives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from services.esxi.vms import power
from services.esxi.vms.files import take_lock
from tests.mutations.bugs.planting import plant


@asynccontextmanager
async def _kept(datastore: Any, vm: Any) -> AsyncIterator[None]:
    await take_lock(datastore, vm)
    try:
        yield
    except BaseException:
        _keep(datastore, vm)
        raise


def _keep(datastore: Any, vm: Any) -> None:
    original = datastore.unlock

    async def unlock(name: Any) -> None:
        if name != vm:
            await original(name)

    datastore.unlock = unlock


plant(power, "lock_and_keep", lambda original: _kept)
