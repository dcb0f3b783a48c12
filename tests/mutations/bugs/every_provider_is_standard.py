"""TA-06 broken: vCenter makes keys of every provider itself, whatever its management type."""

from __future__ import annotations

from typing import Any

from protocol.terms import ManagementType
from services.vcenter.providers import capabilities
from services.vcenter.providers.registry import ProviderRegistry
from tests.mutations.bugs.planting import plant


def _standard(original: Any) -> Any:
    def capability(self: Any, provider: Any) -> Any:
        return capabilities.CAPABILITIES[ManagementType.VCENTER]

    return capability


plant(ProviderRegistry, "capability", _standard)
