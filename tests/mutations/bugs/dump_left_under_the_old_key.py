"""REK-06 broken: a new host key leaves the dumps of the old one behind, under that one."""

from __future__ import annotations

from typing import Any

from services.esxi import dumps
from tests.mutations.bugs.planting import plant


def _nothing(original: Any) -> Any:
    async def take_along(*how: Any) -> None:
        """Nothing is done."""

    return take_along


plant(dumps, "take_along", _nothing)
