"""HLT-06 broken: no host is asked whether a trusted provider serves it; what hosts tell of their
own attestation is all that vCenter knows."""

from __future__ import annotations

from typing import Any

from services.vcenter.trust.watch import TrustWatch
from tests.mutations.bugs.planting import plant


def _nobody(original: Any) -> Any:
    async def ask(self: TrustWatch) -> list[Any]:
        return []

    return ask


plant(TrustWatch, "_ask", _nobody)
