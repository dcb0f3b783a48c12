"""ATT-06 broken: a host that is refused powers on what it has the keys of."""

from __future__ import annotations

from services.esxi.providers.trusted import gate
from tests.mutations.bugs.planting import plant

plant(gate, "allows", lambda original: lambda overrides, outcome: True)
