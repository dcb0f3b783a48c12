"""KP-07 broken: the host key is left out of the persisted store."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.configuration import archive
from tests.mutations.bugs.planting import plant


def _partial(original: Any) -> Any:
    def pack(protection: Any, config_key: Any, configuration: Any, nonce: bytes) -> bytes:
        kept = tuple(e for e in configuration.store if e.key != configuration.host_key)
        configuration = msgspec.structs.replace(configuration, store=kept)
        return bytes(original(protection, config_key, configuration, nonce))

    return pack


plant(archive, "pack", _partial)
