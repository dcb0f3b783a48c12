"""A lie: a host says that keys are stored, and stores none."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.keys import persistence, status
from tests.mutations.bugs.planting import plant


def _told(original: Any) -> Any:
    def of(host: Any, keys: Any, **how: Any) -> Any:
        on, found = host.archive.now.persistence, original(host, keys, **how)
        said = (msgspec.structs.replace(key, stored=on and key.present) for key in found.keys)
        return msgspec.structs.replace(found, keys=tuple(said))

    return of


plant(persistence, "with_keys", lambda original: lambda config, new: config)
plant(status, "of", _told)
