"""KP-09 broken: a host stores the keys of its first boot, and none that come in a later one."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _once(original: Any) -> Any:
    def storable(self: Host, entries: Any) -> Any:
        return original(self, entries if self.node.boot == 1 else ())

    return storable


plant(Host, "storable", _once)
