"""The control plane broken: whoever the broker lets through may ask anything."""

from __future__ import annotations

from typing import Any

import lab.brokers.control_plane as control_plane
from tests.mutations.bugs.planting import plant


def _anybody(original: Any) -> Any:
    def may_ask(sender: str, to: str) -> bool:
        return True

    return may_ask


plant(control_plane, "may_ask", _anybody)
