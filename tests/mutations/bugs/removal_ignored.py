"""KP-03 broken: persistence is disabled, and the flag that removes all stored keys is not heard."""

from __future__ import annotations

from typing import Any

from services.esxi.keys import persistence
from tests.mutations.bugs.planting import plant


def _deaf(original: Any) -> Any:
    def disabled(config: Any, *, remove_all: bool, disable_keeps_store: bool) -> Any:
        return original(config, remove_all=False, disable_keeps_store=disable_keeps_store)

    return disabled


plant(persistence, "disable_persistence", _deaf)
