"""NKP-02 broken: vCenter takes any number of key providers."""

from __future__ import annotations

from services.vcenter.tasks import native, provider
from tests.mutations.bugs.planting import plant

for module in (native, provider):
    plant(module, "check_room", lambda original: lambda vc: None)
