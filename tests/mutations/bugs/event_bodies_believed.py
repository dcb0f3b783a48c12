"""ATT-02 broken: digests of an event log are replayed, and what its bodies tell is believed."""

from __future__ import annotations

from services.attestation import policy
from tests.mutations.bugs.planting import plant

plant(policy, "body_mismatches", lambda original: lambda events: ())
