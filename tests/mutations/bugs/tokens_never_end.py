"""ATT-04 broken: a token has no end, neither for who issued it nor for the host that has it."""

from __future__ import annotations

from typing import Any

from services.attestation import service
from services.esxi.providers.trusted.state import TrustState
from tests.mutations.bugs.planting import plant

_FOREVER_S = 1e9


def _endless(original: Any) -> Any:
    def issue(*facts: Any, until: float, **more: Any) -> Any:
        return original(*facts, until=until + _FOREVER_S, **more)

    return issue


def _kept(self: TrustState, group: str, now: float) -> Any:
    return self.tokens.get(group)


plant(service, "issue", _endless)
plant(TrustState, "find_token", lambda original: _kept)
