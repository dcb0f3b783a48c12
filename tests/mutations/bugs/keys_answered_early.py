"""Durable before acknowledged, broken at the host: a change is answered while it is saved."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _early(original: Any) -> Any:
    async def save(self: Any, sections: Any) -> None:
        self.node.end_turn()
        self.node.background("save", self.archive.save(sections))

    return save


plant(Host, "save", _early)
