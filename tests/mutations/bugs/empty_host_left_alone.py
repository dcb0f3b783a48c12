"""HEM-02 broken: a host that has lost its configuration in a reboot is not made safe again."""

from __future__ import annotations

from typing import Any

from protocol.terms import HostCryptoState
from services.vcenter.hosts.host_key import HostKeys
from tests.mutations.bugs.planting import plant


def _content(original: Any) -> Any:
    async def make_safe(self: Any, session: Any, **how: Any) -> Any:
        summary = session.summary
        empty = summary is not None and summary.crypto_state is HostCryptoState.INCAPABLE
        return None if empty and session.boot > 1 else await original(self, session, **how)

    return make_safe


plant(HostKeys, "make_safe", _content)
