"""Link rules broken: a receiver lets in what comes over a link that is cut."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.runtime.link import RuleTable

plant(RuleTable, "passes", lambda original: lambda self, link: True)
