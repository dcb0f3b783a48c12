"""A key's state is the one that it has now, broken (STD-18): a key server answers Get from memory
as it did the first time. A stale read."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from services.kms.doors.bus import BusDoor
from tests.mutations.bugs.planting import plant


def _from_memory(get_keys: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(get_keys)
    async def get(self: BusDoor, message: Any, peer: Any) -> Any:
        answers = self.__dict__.setdefault("first_answers", {})
        if message.key_ids not in answers:
            answers[message.key_ids] = await get_keys(self, message, peer)
        return answers[message.key_ids]

    return get


plant(BusDoor, "get_keys", _from_memory)
