"""What a key server rejects of some keys, it rejects of all."""

from __future__ import annotations

from typing import Any

from services.kms.rejections import Rejection
from tests.mutations.bugs.planting import plant


def _any(original: Any) -> Any:
    def about(rejection: Any, operation: Any, key_id: Any) -> bool:
        return operation in rejection.operations

    return about


plant(Rejection, "about", _any)
