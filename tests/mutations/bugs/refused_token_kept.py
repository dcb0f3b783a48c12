"""ATT-04 broken: a host that is refused keeps the token that it had."""

from __future__ import annotations

from typing import Any

from services.esxi.providers.trusted import attesting
from tests.mutations.bugs.planting import plant


def _keeping(original: Any) -> Any:
    async def attest_in(host: Any, group: str) -> Any:
        before = dict(host.trust.tokens)
        outcome = await original(host, group)
        host.trust.tokens = {**before, **host.trust.tokens}
        return outcome

    return attest_in


plant(attesting, "_attest_in", _keeping)
