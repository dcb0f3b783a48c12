"""LOCK-01 broken: a VM is marked for a key that vCenter can supply."""

from __future__ import annotations

from typing import Any

from protocol.terms import KeyUnavailableReason
from services.vcenter.hosts.remediation import PassTelling
from tests.mutations.bugs.planting import plant

_REASON = KeyUnavailableReason.CLUSTER_UNREACHABLE


def _hasty(original: Any) -> Any:
    async def marks(
        self: Any, session: Any, rows: Any, lacking: Any, denied: Any, **how: Any
    ) -> None:
        refused = {**dict.fromkeys(lacking, _REASON), **denied}
        await original(self, session, rows, lacking, refused, **how)

    return marks


plant(PassTelling, "marks", _hasty)
