"""One task is begun whoever gives it: of its privileges nobody is asked."""

from __future__ import annotations

from typing import Any

from protocol.messages.vcenter import RecryptVm
from services.vcenter import provider_handlers
from tests.mutations.bugs.planting import plant


def _asked_of_others(original: Any) -> Any:
    def needed(message: Any, vms: Any) -> Any:
        return () if isinstance(message, RecryptVm) else original(message, vms)

    return needed


plant(provider_handlers, "privileges_for", _asked_of_others)
