"""KP-01 broken: key persistence can be enabled on a host without TPM."""

from __future__ import annotations

from services.esxi.keys import persistence
from tests.mutations.bugs.planting import plant

plant(persistence, "enable_refusal", lambda original: lambda **facts: None)
