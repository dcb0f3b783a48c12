"""ATT-10 broken: neither a host nor an Attestation Service looks whether an event log is whole."""

from __future__ import annotations

from services.attestation import policy
from services.esxi.providers.trusted import attesting
from tests.mutations.bugs.planting import plant

for module in (policy, attesting):
    plant(module, "LOG_LIMIT", lambda original: 1 << 30)
