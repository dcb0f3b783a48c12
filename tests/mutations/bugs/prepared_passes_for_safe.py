"""HEM-03 broken: a host that is prepared says to everybody that it is safe."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.terms import HostCryptoState
from services.esxi.host import Host
from tests.mutations.bugs.planting import plant


def _boastful(original: Any) -> Any:
    def summary(self: Any, *vms: Any, **named: Any) -> Any:
        told = original(self, *vms, **named)
        if told.crypto_state is HostCryptoState.PREPARED:
            return msgspec.structs.replace(told, crypto_state=HostCryptoState.SAFE)
        return told

    return summary


plant(Host, "summary", _boastful)
