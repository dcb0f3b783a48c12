"""LOCK-03 broken: a disk whose key is missing is taken away, and the VM starts without it."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.errors import EncryptionKeyRequired
from services.esxi.vms import power
from services.esxi.vms.files import write_config
from tests.mutations.bugs.planting import plant


def _rash(original: Any) -> Any:
    async def start_guest(host: Any, vm: Any, *, ask: bool) -> Any:
        try:
            return await original(host, vm, ask=ask)
        except EncryptionKeyRequired as error:
            config = vm.config
            left = tuple(d for d in config.disks if d.dek is None or d.dek.key not in error.keys)
            if config.home.key in error.keys or left == config.disks:
                raise
            await write_config(host.datastore, msgspec.structs.replace(config, disks=left))
            return await original(host, vm, ask=ask)

    return start_guest


plant(power, "_start_guest", _rash)
