"""STD-10 broken: vCenter repairs nothing by itself."""

from __future__ import annotations

from typing import Any

from services.vcenter import parts, reconcile
from services.vcenter.reconcile import Reconciler
from tests.mutations.bugs.planting import plant


async def _idle(self: Any) -> None:
    """The loop ends at once."""


def _content(original: Any) -> Any:
    def needs_pass(inventory: Any, link: Any, **how: Any) -> bool:
        return False

    return needs_pass


plant(Reconciler, "_repair_loop", lambda original: _idle)
plant(reconcile, "needs_pass", _content)
plant(parts, "needs_pass", _content)
