"""STD-10 broken: keys for one host are pushed to the next one in the order of names."""

from __future__ import annotations

from typing import Any

from services.vcenter.hosts.delivery import KeyDelivery
from services.vcenter.hosts.session import HostSession
from tests.mutations.bugs.planting import plant

_sessions: dict[str, HostSession] = {}


def _remembered(original: Any) -> Any:
    def init(self: Any, host: Any, owner: Any) -> None:
        original(self, host, owner)
        _sessions[str(host)] = self

    return init


def _elsewhere(original: Any) -> Any:
    async def deliver(self: Any, session: Any, values: Any) -> Any:
        later = [name for name in sorted(_sessions) if name > session.host]
        other = _sessions[later[0] if later else min(_sessions)]
        return await original(self, other if other.connected else session, values)

    return deliver


plant(HostSession, "__init__", _remembered)
plant(KeyDelivery, "deliver", _elsewhere)
