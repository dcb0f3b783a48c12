"""VSAN-04 broken: a component is made again while a disk group that is not mounted may have it."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.vsan import components
from tests.mutations.bugs.planting import plant


def _sees_all(original: Any) -> Any:
    def nothing_hidden(host: Host, name: str) -> None:
        del host, name

    return nothing_hidden


plant(components, "_check_nothing_hidden", _sees_all)
