"""HLT-01 broken: a change reaches the services that judged it, and no other."""

from __future__ import annotations

from typing import Any

from services.vcenter.trust.authority import Authority
from tests.mutations.bugs.planting import plant


def _to_nobody(original: Any) -> Any:
    async def push(self: Any, row: Any, nodes: Any) -> tuple[Any, ...]:
        return ()

    return push


plant(Authority, "_push", _to_nobody)
