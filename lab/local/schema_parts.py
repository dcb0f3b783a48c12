"""A JSON schema with what stands in it several times once, under ``$defs``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Final

LEAST: Final = 60  # characters of a shape for which a reference is worth while
_ONE: Final = ("items", "additionalProperties")
_SEVERAL: Final = ("anyOf", "allOf", "oneOf")


def share_repeated_parts(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, in which each shape that occurs twice or more is a definition.

    A definition has the name of the field that it stands at first.
    """
    counts: Counter[str] = Counter()

    def count(shape: dict[str, Any], name: str) -> dict[str, Any]:
        key = json.dumps(shape, sort_keys=True)
        counts[key] += 1
        return shape if counts[key] > 1 else _inside(shape, name, count)

    _inside(schema, "", count)
    names: dict[str, str] = {}
    definitions: dict[str, Any] = {}

    def share(shape: dict[str, Any], name: str) -> dict[str, Any]:
        key = json.dumps(shape, sort_keys=True)
        if counts[key] < 2 or len(key) < LEAST:
            return _inside(shape, name, share)
        if key not in names:
            names[key] = _free(name or "part", definitions)
            definitions[names[key]] = {}  # taken, before those inside of it
            definitions[names[key]] = _inside(shape, name, share)
        return {"$ref": f"#/$defs/{names[key]}"}

    made = _inside(schema, "", share)
    return {**made, "$defs": definitions} if definitions else made


Visit = Callable[[dict[str, Any], str], dict[str, Any]]


def _inside(shape: dict[str, Any], name: str, visit: Visit) -> dict[str, Any]:
    """``shape`` with what ``visit`` makes of each shape right inside of it."""
    made = dict(shape)
    if isinstance(properties := shape.get("properties"), dict):
        made["properties"] = {field: visit(inner, field) for field, inner in properties.items()}
    for keyword in _ONE:
        if isinstance(inner := shape.get(keyword), dict):
            made[keyword] = visit(inner, name)
    for keyword in _SEVERAL:
        if isinstance(several := shape.get(keyword), list):
            made[keyword] = [visit(inner, name) for inner in several]
    return made


def _free(name: str, taken: dict[str, Any]) -> str:
    number = next(n for n in range(1, len(taken) + 2) if _number(name, n) not in taken)
    return _number(name, number)


def _number(name: str, number: int) -> str:
    return name if number == 1 else f"{name}-{number}"
