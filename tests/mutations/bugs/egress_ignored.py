"""Link rules broken: a sender does not ask them."""

from __future__ import annotations

from services.runtime.links.table import AT_ONCE, RuleTable
from tests.mutations.bugs.planting import plant

plant(RuleTable, "egress", lambda original: lambda *asked: AT_ONCE)
