"""STD-10 broken: vCenter repairs nothing by itself."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts import sessions
from services.vcenter.hosts.reconciliation import Reconciliation
from tests.mutations.bugs.planting import plant


async def _idle(self: Any) -> None:
    """The loop ends at once."""


def _content(original: Any) -> Any:
    def needs_pass(*facts: Any, **how: Any) -> bool:
        return False

    return needs_pass


plant(Reconciliation, "_run", lambda original: _idle)
plant(sessions, "needs_pass", _content)
