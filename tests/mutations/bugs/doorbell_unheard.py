"""The doorbell broken: a host rings, and vCenter looks at it no sooner than it would have."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.session import HostSession
from tests.mutations.bugs.planting import plant


def _deaf(original: Any) -> Any:
    def rang(self: Any, boot: int) -> None:
        """Nobody is at home."""

    return rang


plant(HostSession, "rang", _deaf)
