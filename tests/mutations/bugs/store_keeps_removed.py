"""``store_follows_cache`` broken: a key that is removed stays in the persisted store."""

from __future__ import annotations

from typing import Any

from services.esxi.keys import persistence
from tests.mutations.bugs.planting import plant

plant(persistence, "without_keys", lambda original: lambda config, keys: _same(config))


def _same(config: Any) -> Any:
    return config
