"""Leases broken: a fault whose lease is over stays in force, at the keeper and at the nodes."""

from __future__ import annotations

from typing import Any

from chaos.keeper import FaultKeeper
from services.runtime.links.table import RuleTable
from tests.mutations.bugs.planting import plant


def _none_over(self: Any) -> list[str]:
    return []


def _alive(self: Any, link: Any) -> Any:
    return self._chains.get(link, ())


plant(FaultKeeper, "_over", lambda original: _none_over)
plant(RuleTable, "_alive", lambda original: _alive)
