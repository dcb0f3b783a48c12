"""Link rules broken: a receiver lets in what comes over a link that is cut."""

from __future__ import annotations

from services.runtime.links.table import RuleTable
from tests.mutations.bugs.planting import plant

plant(RuleTable, "passes", lambda original: lambda self, link: True)
