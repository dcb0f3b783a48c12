"""MOB-07 broken: a VM whose keys the other vCenter does not have may come to it all the same."""

from __future__ import annotations

from typing import Any

from protocol.errors import EncryptionKeyRequired
from protocol.messages.host import CheckRelocate
from services.vcenter.hosts.session import HostSession
from services.vcenter.tasks import arrive
from tests.mutations.bugs.planting import plant


def _whatever_lacks(original: Any) -> Any:
    async def judged(*given: Any, **more: Any) -> Any:
        try:
            return await original(*given, **more)
        except EncryptionKeyRequired:
            return None

    return judged


def _unasked(original: Any) -> Any:
    judged = _whatever_lacks(original)

    async def ask(self: Any, message: Any, **limits: Any) -> Any:
        asked = judged if isinstance(message, CheckRelocate) else original
        return await asked(self, message, **limits)

    return ask


plant(arrive, "_check_providers", _whatever_lacks)
plant(arrive, "bring_keys", _whatever_lacks)
plant(HostSession, "ask", _unasked)
