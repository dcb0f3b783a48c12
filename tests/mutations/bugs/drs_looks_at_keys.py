"""HA-03 broken: DRS places an encrypted VM on no host that lacks keys, as nobody documents."""

from __future__ import annotations

from typing import Any

from protocol.terms import HostCryptoState
from services.vcenter.placement import Placement
from tests.mutations.bugs.planting import plant


def _careful(original: Any) -> Any:
    def takes_encrypted(self: Any, host: Any, *, own: bool) -> bool:
        session = self._sessions.find_connected(host)
        safe = session is not None and session.summary is not None
        safe = safe and session.summary.crypto_state is HostCryptoState.SAFE
        return safe and bool(original(self, host, own=own))

    return takes_encrypted


plant(Placement, "_takes_encrypted", _careful)
