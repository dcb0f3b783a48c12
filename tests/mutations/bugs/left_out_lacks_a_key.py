"""NKP-12 broken: a host without the TPM that a provider requires says that it lacks a key."""

from __future__ import annotations

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant

plant(Host, "is_excluded", lambda original: lambda self, provider: False)
