"""B7 broken: a host's tokens outlive its reboot."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant

_lives: dict[str, Any] = {}  # by host: the one that began last


def _remembering(original: Any) -> Any:
    def __init__(self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        before = _lives.get(node.name)
        if before is not None:
            self.trust.tokens = dict(before.trust.tokens)
        _lives[node.name] = self

    return __init__


plant(Host, "__init__", _remembering)
