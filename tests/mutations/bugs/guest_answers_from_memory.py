"""Guests broken: a block that was read once is never read from the datastore again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.esxi.vms.guest import RunningGuest
from tests.mutations.bugs.planting import plant


def _init(original: Any) -> Any:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.memory = {}

    return init


def _contents(original: Any) -> Any:
    async def contents(self: Any, blocks: Sequence[int]) -> list[bytes]:
        unknown = [index for index in blocks if index not in self.memory]
        self.memory.update(zip(unknown, await original(self, unknown), strict=True))
        return [self.memory[index] for index in blocks]

    return contents


def _write(original: Any) -> Any:
    async def write(self: Any, plain: Mapping[int, bytes]) -> Any:
        stored = await original(self, plain)
        self.memory.update(plain)
        return stored

    return write


plant(RunningGuest, "__init__", _init)
plant(RunningGuest, "contents", _contents)
plant(RunningGuest, "_write", _write)
