"""A09 broken: vCenter has a copy of each new key on its own disk, in hexadecimal."""

from __future__ import annotations

from typing import Any

from services.vcenter.providers.standard import StandardProvider
from services.vcenter.service import VcenterService
from tests.mutations.bugs.planting import plant

_copies: list[str] = []


def _created(original: Any) -> Any:
    async def create_key(self: Any, operation_id: str, *rest: Any) -> Any:
        made = await original(self, operation_id, *rest)
        _copies.append(made.material.reveal().hex())
        return made

    return create_key


def _saved(original: Any) -> Any:
    async def create_vm(self: Any, message: Any, peer: Any) -> Any:
        done = await original(self, message, peer)
        await self.disk.write("keys.txt", "\n".join(_copies).encode())
        return done

    return create_vm


plant(StandardProvider, "create_key", _created)
plant(VcenterService, "create_vm", _saved)
