"""MOB-07 broken: what a host said before it fell tells whether a VM has left it."""

from __future__ import annotations

from typing import Any

from services.vcenter.tasks import departure
from tests.mutations.bugs.planting import plant


def _remembering(original: Any) -> Any:
    async def word_of(vc: Any, session: Any, leaving: Any) -> Any:
        if not vc.sessions.lists(session.host, leaving.name) or session.summary is None:
            return None
        vms = session.summary.vms
        return next((one for one in vms if one.vm == leaving.name), None)

    return word_of


plant(departure, "_word_of", _remembering)
