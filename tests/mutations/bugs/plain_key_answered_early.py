"""Durable before acknowledged, broken: a plain Create is answered while it waits for its commit."""

from __future__ import annotations

import asyncio
from typing import Any

from services.kms.commits import _NewKeys
from tests.mutations.bugs.planting import plant


def _early(original: Any) -> Any:
    def begin(self: Any) -> None:
        original(self)
        for one, made in zip(self.wanted, self.made, strict=True):
            asyncio.get_running_loop().call_soon(one.over, made.row.key_id, None)
            one.over = lambda *_: None

    return begin


plant(_NewKeys, "begin", _early)
