"""NKP-10 broken: a host's archive has the list of its providers, and not their KDKs."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.configuration import archive
from tests.mutations.bugs.planting import plant


def _without_kdks(original: Any) -> Any:
    def pack(header: Any, config_key: Any, image: Any, nonce: bytes) -> Any:
        return original(header, config_key, msgspec.structs.replace(image, kdks=()), nonce)

    return pack


plant(archive, "pack", _without_kdks)
