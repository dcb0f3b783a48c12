"""REK-01 broken: the memory of a snapshot is under a key that a shallow recrypt changes."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from services.esxi.vms import revert, snapshots
from tests.mutations.bugs.planting import plant


def _of_now(config: Any) -> Any:
    return config.home and KeyMaterial(hashlib.sha256(config.home.wrapped).digest())


def _kept_under(original: Any) -> Any:
    async def home_of(host: Any, config: Any) -> Any:
        await original(host, config)
        return _of_now(config)

    return home_of


class _Keys(msgspec.Struct):
    home: Any


def _read_under(original: Any) -> Any:
    async def memory(host: Any, config: Any, kept: Any, keys: Any) -> Any:
        return await original(host, config, kept, _Keys(_of_now(config)))

    return memory


plant(snapshots, "home_of", _kept_under)
plant(revert, "_memory", _read_under)
