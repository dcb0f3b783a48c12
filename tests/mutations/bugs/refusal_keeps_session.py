"""vCenter broken: a host that refuses the session is still taken for connected."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.session import HostSession
from tests.mutations.bugs.planting import plant


def _stubborn(original: Any) -> Any:
    def end(self: HostSession, reason: str) -> None:
        if reason != "the host refuses the session":
            original(self, reason)

    return end


plant(HostSession, "_end", _stubborn)
