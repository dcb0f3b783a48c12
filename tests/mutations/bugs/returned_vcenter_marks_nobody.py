"""LOCK-01 broken: a vCenter that was started again marks no VM as locked."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.remediation import PassTelling
from tests.mutations.bugs.planting import plant


def _lenient(original: Any) -> Any:
    async def marks(
        self: Any, session: Any, rows: Any, lacking: Any, denied: Any, **how: Any
    ) -> None:
        lacked = () if self._node.boot > 1 else lacking
        await original(self, session, rows, lacked, denied, **how)

    return marks


plant(PassTelling, "marks", _lenient)
