"""C6 broken: a host that reaches no Attestation Service may not use the keys that it has."""

from __future__ import annotations

from services.esxi.providers.trusted import gate
from tests.mutations.bugs.planting import plant

plant(gate, "allows", lambda original: lambda overrides, outcome: original("never", outcome))
