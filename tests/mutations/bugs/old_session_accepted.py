"""Sessions broken: a host takes commands of any session and any number."""

from __future__ import annotations

from typing import Any

from services.runtime.session import SessionGuard
from tests.mutations.bugs.planting import plant


def _admit(self: Any, command: Any, sender: Any) -> None:
    """Everything is let in."""


plant(SessionGuard, "admit", lambda original: _admit)
