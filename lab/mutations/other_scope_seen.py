"""Access broken: every caller of a key server sees the keys of every scope."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.kms.access import Caller

plant(Caller, "sees", lambda original: lambda self, scope: True)
