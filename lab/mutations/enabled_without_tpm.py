"""KP-01 broken (M50): key persistence can be enabled on a host without TPM."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.esxi import persistence

plant(persistence, "enable_refusal", lambda original: lambda **facts: None)
