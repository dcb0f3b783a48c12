"""Replication broken: two servers that have heard of the same changes are not compared."""

from __future__ import annotations

from typing import Any

from services.kms.doors import standing
from tests.mutations.bugs.planting import plant


def _never(original: Any) -> Any:
    return lambda *given: False


plant(standing, "_differs", _never)
