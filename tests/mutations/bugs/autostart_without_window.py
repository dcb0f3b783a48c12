"""LOCK-05 broken at the host: a key that comes long after the boot still starts its VM."""

from __future__ import annotations

from typing import Any

import msgspec

from services.runtime import node
from tests.mutations.bugs.planting import plant


def _endless(original: Any) -> Any:
    def knobs_from(given: Any) -> Any:
        return msgspec.structs.replace(original(given), autostart_window_s=1e6)

    return knobs_from


plant(node, "knobs_from", _endless)
