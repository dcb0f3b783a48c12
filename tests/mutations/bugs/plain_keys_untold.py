"""The trail left out: plain Creates that come together have one row of it, that of the first."""

from __future__ import annotations

from typing import Any

from services.kms import making
from tests.mutations.bugs.planting import plant


def _one_row(original: Any) -> Any:
    def write(connection: Any, trail: Any, vault: Any, made: Any) -> Any:
        append = trail.append_each
        trail.append_each = lambda dated: append(dated[:1])
        try:
            return original(connection, trail, vault, made)
        finally:
            trail.append_each = append

    return write


plant(making, "write", _one_row)
