"""NKP-15 broken: a KDK that a host lacks comes with the reconciliation, and not on demand, once
there are VMs."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts import remediation
from tests.mutations.bugs.planting import plant


def _remembering(original: Any) -> Any:
    async def run(self: Any, session: Any, *, removing: bool = False, **how: Any) -> Any:
        self.reconciles = removing
        return await original(self, session, removing=removing, **how)

    return run


def _then_only(original: Any) -> Any:
    async def set_providers(self: Any, session: Any, providers: Any) -> Any:
        if getattr(self, "reconciles", False) or not self._inventory.vms:
            return await original(self, session, providers)
        return None

    return set_providers


plant(remediation.Remediation, "run", _remembering)
plant(remediation.Remediation, "_set_providers", _then_only)
