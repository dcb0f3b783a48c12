"""Guests broken: a block that was read once is never read from the datastore again."""

from __future__ import annotations

from typing import Any

from services.esxi.vms.guest import Guest
from tests.mutations.bugs.planting import plant


def _init(original: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.memory = {}

    return init


def _read(original: Any) -> Any:
    async def read(self: Any, index: int) -> bytes:
        if index not in self.memory:
            self.memory[index] = await original(self, index)
        return bytes(self.memory[index])

    return read


def _write(original: Any) -> Any:
    async def write(self: Any, index: int, plain: bytes) -> None:
        await original(self, index, plain)
        self.memory[index] = plain

    return write


plant(Guest, "__init__", _init)
plant(Guest, "_read", _read)
plant(Guest, "_write", _write)
