"""Determinism broken: keys go to a host in the order of their hashes, which the process draws."""

from __future__ import annotations

from typing import Any

import services.vcenter.hosts.delivery as delivery
from tests.mutations.bugs.planting import plant


def _by_hash(original: Any) -> Any:
    return lambda items, **options: original(sorted(items, key=hash), **options)


plant(delivery, "pages", _by_hash)
