"""STD-20 broken: a key server does what its hardware module refuses it."""

from __future__ import annotations

from typing import Any

from services.kms.rejections import Judging
from tests.mutations.bugs.planting import plant


def _lenient(original: Any) -> Any:
    def of(judging: Judging, *about: Any) -> None:
        return None

    return of


plant(Judging, "of", _lenient)
