"""MOB-07 broken: what a host said before it fell tells whether a VM has left it."""

from __future__ import annotations

from typing import Any

from services.vcenter.tasks import departure
from tests.mutations.bugs.planting import plant


def _remembering(original: Any) -> Any:
    async def has_departed(vc: Any, leaving: Any) -> tuple[bool | None, bool]:
        found, surely_here = await original(vc, leaving)
        if found is None and vc.sessions.listing(leaving.name):
            return False, surely_here
        return found, surely_here

    return has_departed


plant(departure, "_has_departed", _remembering)
