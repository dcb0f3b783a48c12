"""KP-03 broken: a persisted store is used although persistence is disabled."""

from __future__ import annotations

from services.esxi import boot
from tests.mutations.bugs.planting import plant

plant(boot, "usable", lambda original: lambda configuration: configuration.store)
