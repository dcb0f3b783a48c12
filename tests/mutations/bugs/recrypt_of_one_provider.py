"""REK-01 broken: a recrypt takes its new key from the provider of the old one, whoever is named."""

from __future__ import annotations

from typing import Any

import msgspec

from services.vcenter.tasks import recrypt
from tests.mutations.bugs.planting import plant


def _same(original: Any) -> Any:
    async def recrypt_vm(vc: Any, message: Any, *rest: Any) -> Any:
        provider = vc.vm(message.vm).keys[0].provider_id
        return await original(vc, msgspec.structs.replace(message, provider=provider), *rest)

    return recrypt_vm


plant(recrypt, "recrypt_vm", _same)
