"""Knobs broken: a number of the right type is taken, whatever its range."""

from __future__ import annotations

from typing import Any

from services.runtime import knobs
from tests.mutations.bugs.planting import plant


def _of_its_type(original: Any) -> Any:
    def converted(kind: Any, name: str, value: object) -> Any:
        if type(value) in (int, float):
            return value
        return original(kind, name, value)

    return converted


plant(knobs, "_convert_value", _of_its_type)
