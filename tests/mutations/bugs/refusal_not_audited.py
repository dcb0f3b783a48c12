"""Audit broken: an operation that is refused leaves no row in the key server's trail."""

from __future__ import annotations

from typing import Any

from services.kms.core import KeyServerCore
from tests.mutations.bugs.planting import plant


def _discreet(original: Any) -> Any:
    async def admit(self: Any, caller: Any, *operations: Any) -> None:
        from services.kms import access

        refused = access.refuse(caller, *operations)
        if refused is not None:
            raise refused

    return admit


plant(KeyServerCore, "admit", _discreet)
