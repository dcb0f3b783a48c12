"""A lie: a host says that keys are stored, and stores none."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi import crypto_manager
from services.esxi.keys import persistence
from tests.mutations.bugs.planting import plant


def _told(original: Any) -> Any:
    def key_status(host: Any, keys: Any) -> Any:
        on = host.archive.now.persistence
        return tuple(
            msgspec.structs.replace(key, stored=on and key.present) for key in original(host, keys)
        )

    return key_status


plant(persistence, "with_keys", lambda original: lambda config, new: config)
plant(crypto_manager, "key_status", _told)
