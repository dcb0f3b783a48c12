"""MOB-07 broken: a host that was away brings a VM back that has left its vCenter."""

from __future__ import annotations

from services.vcenter.tables import RelocationRow
from tests.mutations.bugs.planting import plant

plant(RelocationRow, "is_past", lambda original: lambda row, host: row.state.value == "expected")
