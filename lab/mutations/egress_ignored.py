"""Link rules broken: a sender does not ask them."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.runtime.link import PASS, RuleTable

plant(RuleTable, "egress", lambda original: lambda self, link, boot, nth: PASS)
