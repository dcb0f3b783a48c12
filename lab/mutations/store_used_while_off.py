"""KP-03 broken: a persisted store is used although persistence is disabled."""

from __future__ import annotations

from lab.mutations.planting import plant
from services.esxi import boot

plant(boot, "usable", lambda original: lambda configuration: configuration.store)
