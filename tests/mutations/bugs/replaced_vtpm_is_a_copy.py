"""VTPM-07 broken: the virtual TPM of a clone that is to have its own is that of its source, with
all that is sealed in it."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.messages.host import TpmProvisionPolicy
from services.esxi.vms import clone
from tests.mutations.bugs.planting import plant


def _copied(original: Any) -> Any:
    async def taken(host: Any, message: Any) -> Any:
        return await original(host, msgspec.structs.replace(message, tpm=TpmProvisionPolicy.COPY))

    return taken


plant(clone, "_read_source", _copied)
