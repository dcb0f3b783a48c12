"""Access broken: every caller of a key server sees the keys of every scope."""

from __future__ import annotations

from services.kms.access import KeyServerCaller
from tests.mutations.bugs.planting import plant

plant(KeyServerCaller, "sees", lambda original: lambda self, scope: True)
