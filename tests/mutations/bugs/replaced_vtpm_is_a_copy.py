"""VTPM-07 broken: the virtual TPM of a clone that is to have its own is that of its source, with
all that is sealed in it."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.messages.host import TpmProvisionPolicy
from services.esxi.vms import clone
from tests.mutations.bugs.planting import plant


def _copied(original: Any) -> Any:
    async def with_vtpm(host: Any, message: Any, *rest: Any) -> Any:
        copy = msgspec.structs.replace(message, tpm=TpmProvisionPolicy.COPY)
        return await original(host, copy, *rest)

    return with_vtpm


plant(clone, "_with_vtpm", _copied)
