"""MOB-05 broken: an encrypted VM moves to a host whatever its encryption mode is."""

from __future__ import annotations

from typing import Any

from services.vcenter.tasks import migrate
from tests.mutations.bugs.planting import plant


def _anywhere(original: Any) -> Any:
    async def make_host_safe(*args: Any, **rights: Any) -> None:
        return None

    return make_host_safe


plant(migrate, "make_host_safe", _anywhere)
