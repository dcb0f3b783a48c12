"""Resolving broken: the first missing key of a VM decides whether vCenter is asked for any."""

from __future__ import annotations

from typing import Any

from services.esxi.keys import search
from tests.mutations.bugs.planting import plant


def _hasty(original: Any) -> Any:
    def by_means(host: Any, keys: Any, means: Any, *, ask: bool) -> Any:
        lacking = tuple(key for key in keys if key not in host.keys)
        return lacking if original(host, lacking[:1], means, ask=ask) else ()

    return by_means


plant(search, "_by_means", _hasty)
