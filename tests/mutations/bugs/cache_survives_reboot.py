"""STD-13 broken: a host finds its key cache, with its keys in it, after a reboot."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from services.esxi.keys.cache import KeyCache
from tests.mutations.bugs.planting import plant

_caches: dict[str, KeyCache] = {}


def _remembering(original: Any) -> Any:
    def init(self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        self.keys = _caches.setdefault(str(node.name), self.keys)
        self.keys.announce()  # an event of the present loop and life

    return init


plant(Host, "__init__", _remembering)
