"""Durable before acknowledged, broken (STD-01): a key server confirms what its peer told it, and
stores none of it. A lost write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.kms.core import KeyServerCore
from tests.mutations.bugs.planting import plant


def _confirm_only(replicate: Callable[..., Any]) -> Callable[..., Any]:
    async def replicated(self: KeyServerCore, caller: Any, keys: Any, *others: Any) -> Any:
        return await replicate(self, caller, (), *others)

    return replicated


plant(KeyServerCore, "replicate", _confirm_only)
