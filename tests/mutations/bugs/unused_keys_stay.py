"""STD-17 broken: the key of a VM that was taken out stays on every host."""

from __future__ import annotations

from services.vcenter.tasks import registration
from tests.mutations.bugs.planting import plant

plant(registration, "release_keys", lambda original: lambda keys, hosts: ())
