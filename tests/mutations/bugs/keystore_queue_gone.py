"""The host broken: commands about keys do not wait for each other."""

from __future__ import annotations

from typing import Any

from services.runtime.turns import Ticket, TurnQueues
from tests.mutations.bugs.planting import plant


def _jumped(original: Any) -> Any:
    def take(self: TurnQueues, key: str) -> Ticket:
        if key != "keystore":
            ticket: Ticket = original(self, key)
            return ticket
        ticket = Ticket(self, key)
        ticket.call_up()
        return ticket

    return take


plant(TurnQueues, "take", _jumped)
