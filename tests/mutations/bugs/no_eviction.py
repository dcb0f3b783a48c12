"""C4 broken: keys of a provider that was deleted long ago stay on the hosts."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts import remediation
from tests.mutations.bugs.planting import plant


def _none(original: Any) -> Any:
    def expired_providers(*facts: Any) -> tuple[Any, ...]:
        return ()

    return expired_providers


plant(remediation, "find_expired_providers", _none)
