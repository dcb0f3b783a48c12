"""KP-07 broken: the host key is left out of the persisted store."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.terms import KeyKind
from services.esxi.configuration import archive
from tests.mutations.bugs.planting import plant


def _partial(original: Any) -> Any:
    def pack(protection: Any, config_key: Any, configuration: Any, nonce: bytes) -> bytes:
        store = configuration.store.without((configuration.host_key,))
        configuration = msgspec.structs.replace(configuration, store=store)
        return bytes(original(protection, config_key, configuration, nonce))

    return pack


def _partial_too(original: Any) -> Any:
    def pack_addition(last_tag: bytes, config_key: Any, addition: Any, nonce: bytes) -> bytes:
        kept = tuple(entry for entry in addition.keys if entry.kind is not KeyKind.HOST)
        addition = msgspec.structs.replace(addition, keys=kept)
        return bytes(original(last_tag, config_key, addition, nonce))

    return pack_addition


plant(archive, "pack", _partial)
plant(archive, "pack_addition", _partial_too)
