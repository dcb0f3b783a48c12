"""ATT-06 broken: a trusted host starts VMs whose keys it has, attested or not."""

from __future__ import annotations

from services.esxi.providers.trusted import gate
from tests.mutations.bugs.planting import plant

plant(gate, "allows", lambda original: lambda overrides, outcome: True)
