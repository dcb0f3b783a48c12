"""MOB-07 broken: a VM that only waits for its memory on a host is taken into the inventory."""

from __future__ import annotations

from services.vcenter.hosts import sessions
from tests.mutations.bugs.planting import plant

plant(
    sessions, "of_relocations", lambda original: lambda rows, known, hosts, host, vms: (vms, [], [])
)
