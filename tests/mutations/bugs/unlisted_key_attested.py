"""TA-07 broken: an Attestation Service trusts any endorsement key, whatever its list says."""

from __future__ import annotations

from services.attestation import identities
from tests.mutations.bugs.planting import plant

plant(identities, "findings", lambda original: lambda *args: [])
