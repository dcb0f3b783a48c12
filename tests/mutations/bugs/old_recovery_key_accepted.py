"""REC-02 broken: after a rotation the old digits go on opening the configuration."""

from __future__ import annotations

from typing import Any

from services.esxi import console
from tests.mutations.bugs.planting import plant


def _lenient(protection: Any, recovery: Any, config_key: Any, rng: Any) -> Any:
    return protection


plant(console, "with_recovery", lambda original: _lenient)
