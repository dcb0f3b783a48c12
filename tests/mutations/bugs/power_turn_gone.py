"""The host broken: commands about one VM do not wait for each other."""

from __future__ import annotations

from typing import Any

from services.runtime.turns import Ticket, TurnQueues
from tests.mutations.bugs.planting import plant


def _jumped(original: Any) -> Any:
    def take(self: TurnQueues, key: str) -> Ticket:
        ticket: Ticket = original(self, key)
        if key.startswith("vm"):
            ticket.call_up()
        return ticket

    return take


plant(TurnQueues, "take", _jumped)
