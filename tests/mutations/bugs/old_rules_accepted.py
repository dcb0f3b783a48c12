"""Rules broken: an agent takes a set of rules of any epoch, also a late one."""

from __future__ import annotations

from typing import Any

from services.runtime.links.table import RuleTable
from tests.mutations.bugs.planting import plant


def _hasty(original: Any) -> Any:
    def apply(self: Any, desired: Any) -> bool:
        self.epoch = -1
        return bool(original(self, desired))

    return apply


plant(RuleTable, "apply", _hasty)
