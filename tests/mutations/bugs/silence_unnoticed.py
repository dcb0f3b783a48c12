"""Heartbeats broken: a host that does not answer stays connected."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.session import HostSession
from tests.mutations.bugs.planting import plant


def _miss(self: Any, error: Any) -> None:
    """Nobody counts."""


plant(HostSession, "_miss", lambda original: _miss)
