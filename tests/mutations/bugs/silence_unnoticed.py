"""Heartbeats broken: a host that does not answer stays connected."""

from __future__ import annotations

from typing import Any

from services.vcenter.connection import HostLink
from tests.mutations.bugs.planting import plant


def _miss(self: Any, error: Any) -> None:
    """Nobody counts."""


plant(HostLink, "_miss", lambda original: _miss)
