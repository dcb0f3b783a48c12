"""A derived key goes into the persisted store, where it outlives its KDK."""

from __future__ import annotations

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant

plant(Host, "storable", lambda _: lambda self, entries: list(entries))
