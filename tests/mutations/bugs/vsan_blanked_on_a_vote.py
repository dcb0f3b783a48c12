"""VSAN-04 broken: a deep rekey gives the blocks of a replica up when another host says that it has
them, and does not look whether it has."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import components
from services.esxi.vsan.label import PlacedComponent
from tests.mutations.bugs.planting import plant


def _trusts(original: Any) -> Any:
    async def check_other(host: Host, placed: PlacedComponent) -> None:
        del host, placed

    return check_other


plant(components, "_check_other", _trusts)
