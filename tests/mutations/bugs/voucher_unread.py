"""ATT-01 broken: an Attestation Service attests hosts for which no imported principal vouches."""

from __future__ import annotations

from services.attestation import policy
from tests.mutations.bugs.planting import plant

plant(policy, "voucher_findings", lambda original: lambda evidence, principals: [])
