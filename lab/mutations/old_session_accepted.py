"""Sessions broken: a host takes commands of any session and any number."""

from __future__ import annotations

from typing import Any

from lab.mutations.planting import plant
from services.runtime.session import SessionGuard


def _admit(self: Any, command: Any, sender: Any) -> None:
    """Everything is let in."""


plant(SessionGuard, "admit", lambda original: _admit)
