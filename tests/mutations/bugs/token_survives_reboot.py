"""B7 broken: a host's tokens outlive its reboot."""

from __future__ import annotations

from typing import Any

from services.esxi.host import Host
from tests.mutations.bugs.planting import plant

_kept: dict[str, Any] = {}


def _remembering(original: Any) -> Any:
    def __init__(self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        self.trust.tokens = _kept.setdefault(node.name, self.trust.tokens)

    return __init__


plant(Host, "__init__", _remembering)
