"""ATT-02 broken: an event log is believed, whatever the TPM has quoted."""

from __future__ import annotations

from services.attestation import policy
from tests.mutations.bugs.planting import plant

plant(policy, "_off", lambda original: lambda events, quoted: [])
