"""VM encryption broken: the DEK of a new VM lies on the datastore beside it, in hexadecimal."""

from __future__ import annotations

from typing import Any

from services.esxi.vms import registration
from tests.mutations.bugs.planting import plant

_deks: dict[str, bytes] = {}


def _noted(original: Any) -> Any:
    def encrypted_config(config: Any, *how: Any) -> Any:
        made, keys = original(config, *how)
        _deks[config.vm] = keys.deks[0].reveal()
        return made, keys

    return encrypted_config


def _written(original: Any) -> Any:
    async def create(host: Any, name: Any, *how: Any) -> Any:
        vm = await original(host, name, *how)
        if name in _deks:
            await host.datastore.write(name, "notes.txt", _deks[name].hex().encode())
        return vm

    return create


plant(registration, "encrypt_config", _noted)
plant(registration, "create", _written)
