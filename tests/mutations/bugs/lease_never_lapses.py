"""Leases broken: a fault whose lease is over stays in force, at the keeper and at the nodes."""

from __future__ import annotations

from typing import Any

from chaos.keeper import FaultKeeper, HealReport
from services.runtime.links.table import RuleTable
from tests.mutations.bugs.planting import plant


async def _lapse(self: Any) -> HealReport:
    return HealReport()


def _alive(self: Any, link: Any) -> Any:
    return self._chains.get(link, ())


plant(FaultKeeper, "lapse", lambda original: _lapse)
plant(RuleTable, "_alive", lambda original: _alive)
