"""A host's view has the version of the first one for ever, whatever changes in it."""

from __future__ import annotations

from typing import Any

from protocol.messages.host import HostSummary
from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _first(original: Any) -> Any:
    def view(self: Any) -> HostSummary:
        found: HostSummary = original(self)
        self._views = 1
        return found

    return view


plant(Host, "view", _first)
