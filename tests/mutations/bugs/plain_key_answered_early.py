"""Durable before acknowledged, broken: a plain Create is answered while it waits for its commit."""

from __future__ import annotations

import asyncio
from typing import Any

from services.kms.commits import Commits
from tests.mutations.bugs.planting import plant


def _early(original: Any) -> Any:
    def add(self: Any, new: Any) -> None:
        asyncio.get_running_loop().call_soon(new.over, new.row.key_id, None)
        new.over = lambda *_: None
        original(self, new)

    return add


plant(Commits, "add", _early)
