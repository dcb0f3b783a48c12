"""Times, shares and rates as people write them: ``250ms``, ``30s``, ``5m``, ``25%``, ``0.2/s``.

A bare number is refused, with a hint: a time without a unit is the commonest wrong file.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER: Final = r"([0-9]+(?:\.[0-9]+)?)"  # ``\d`` would take the digits of every script
_TIME: Final = re.compile(rf"{_NUMBER}\s*(ms|s|m|h)")
_RATE: Final = re.compile(rf"{_NUMBER}\s*/\s*(s|m|h)")
_SHARE: Final = re.compile(rf"{_NUMBER}\s*%")
LONGEST: Final = 30 * 24 * 3600.0


def _text_schema(form: re.Pattern[str], examples: str) -> dict[str, Any]:
    """The JSON schema of a text of this form, for editors."""
    text = f"such as {examples}, or a parameter: ${{NAME}}"
    pattern = rf"^(?:{form.pattern}|\$\{{[^}}]+\}})$"
    return {"type": "string", "pattern": pattern, "description": text}


def seconds(value: object) -> float:
    """The lab seconds of ``30s``, ``250ms``, ``5m``, ``1h``; at most 30 days."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise PydanticCustomError(
            "no_unit", "a time needs a unit: write {value}s or {value}m", {"value": value}
        )
    found = _TIME.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("no_time", "no time: write 250ms, 30s, 5m or 1h")
    result = float(found[1]) * _UNITS[found[2]]
    if result > LONGEST:
        raise PydanticCustomError("no_time", "at most 30 days")
    return round(result, 9)


def format_s(value: float) -> str:
    """Lab seconds as a file has them, such as ``0.25s``: ``seconds`` reads the same again."""
    return f"{round(value, 9):.9f}".rstrip("0").rstrip(".") + "s"


def per_second(value: object) -> float:
    """The events per lab second of ``0.2/s``, ``3/m``; above 0."""
    found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("no_rate", "no rate: write 0.2/s, 3/m or 10/h")
    rate = float(found[1]) / _UNITS[found[2]]
    if not 0 < rate <= 10_000:
        raise PydanticCustomError("no_rate", "a rate lies above 0 and at most 10000/s")
    return rate


def share(value: object) -> float:
    """The share 0..1 of ``5%`` or ``0.05``."""
    found = _SHARE.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is not None:
        number = float(found[1]) / 100
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        number = float(value)
    else:
        raise PydanticCustomError("no_share", "no share: write 5% or 0.05")
    if not 0 <= number <= 1:
        raise PydanticCustomError("no_share", "a share must be between 0 and 1 (0% and 100%)")
    return number


Seconds = Annotated[
    float, BeforeValidator(seconds), WithJsonSchema(_text_schema(_TIME, "30s, 250ms, 5m, 1h"))
]
Rate = Annotated[
    float, BeforeValidator(per_second), WithJsonSchema(_text_schema(_RATE, "0.2/s, 3/m, 10/h"))
]
Share = Annotated[
    float,
    BeforeValidator(share),
    WithJsonSchema(
        {"anyOf": [_text_schema(_SHARE, "5%"), {"type": "number", "minimum": 0, "maximum": 1}]}
    ),
]
