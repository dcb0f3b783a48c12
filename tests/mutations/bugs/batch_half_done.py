"""Undo broken at the key server: what went before the operation that fails stays done."""

from __future__ import annotations

from typing import Any

from services.kms import performing
from services.kms.work import Refusal
from tests.mutations.bugs.planting import plant


def _halfway(original: Any) -> Any:
    def move(work: Any, request: Any, transition: Any) -> Any:
        try:
            return original(work, request, transition)
        except Refusal:
            work.write()
            raise

    return move


plant(performing, "_move", _halfway)
