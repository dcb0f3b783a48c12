"""A VM that several hosts list is that of the newest session, whoever runs it."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from services.vcenter.hosts import sessions
from tests.mutations.bugs.planting import plant


def _blind(original: Any) -> Any:
    def place_of(words: Any, away: Any) -> Any:
        return original([replace(word, running=False) for word in words], away)

    return place_of


plant(sessions, "place_of", _blind)
