"""Link rules broken: the first rule that has an opinion decides, and the rest are not asked."""

from __future__ import annotations

from typing import Any

from services.runtime.links.table import RuleTable
from tests.mutations.bugs.planting import plant


def _first(original: Any) -> Any:
    return lambda self, link: original(self, link)[:1]


plant(RuleTable, "_alive", _first)
