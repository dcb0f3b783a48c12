"""LOCK-05 broken at the host: a key that comes long after the boot still starts its VM."""

from __future__ import annotations

from typing import Any

import msgspec

from services import knobs
from services.esxi.knobs import EsxiKnobs
from tests.mutations.bugs.planting import plant


def _endless(original: Any) -> Any:
    def read(kind: Any, values: Any) -> Any:
        made = original(kind, values)
        if isinstance(made, EsxiKnobs):
            return msgspec.structs.replace(made, autostart_window_s=1e6)
        return made

    return read


plant(knobs, "read", _endless)
