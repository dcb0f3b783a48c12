"""Rollback unseen: with buffered audit the anchor of a change does not come after its answer."""

from __future__ import annotations

from typing import Any

from services.kms.anchor import AnchorKeeper
from tests.mutations.bugs.planting import plant


def _given_up(original: Any) -> Any:
    async def follow(keeper: Any, clock: Any) -> None:
        await clock.sleep(keeper._node.knobs.audit_buffer_s)
        keeper._following = False

    return follow


plant(AnchorKeeper, "_follow", _given_up)
