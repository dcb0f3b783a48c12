"""MOB-07 broken: what a host said before it fell tells whether a VM has left it."""

from __future__ import annotations

from typing import Any

from services.vcenter.tasks import relocate
from tests.mutations.bugs.planting import plant


def _remembering(original: Any) -> Any:
    async def has_departed(vc: Any, leaving: Any) -> bool | None:
        found: bool | None = await original(vc, leaving)
        return False if found is None and vc.sessions.listing(leaving.name) else found

    return has_departed


plant(relocate, "_has_departed", _remembering)
