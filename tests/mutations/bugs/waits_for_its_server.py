"""A bus of several servers, broken: a client whose server is lost dials that one alone."""

from __future__ import annotations

from typing import Any

from services.runtime.sim.bus import SimBroker
from tests.mutations.bugs.planting import plant


def _own_alone(original: Any) -> Any:
    def dial(self: Any, wire: Any) -> None:
        if wire.server in self.servers.up:
            original(self, wire)
        else:
            self._waiting[wire] = None

    return dial


plant(SimBroker, "dial", _own_alone)
