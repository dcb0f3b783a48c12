"""Tolerances of hypotheses: ``">= 1"``, ``"< 250ms"``, ``"== 100%"``, ``{ratio: ">= 1"}``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, ClassVar

import msgspec
from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, PydanticCustomError, core_schema


class Unit(StrEnum):
    """The unit of a probe's value."""

    RATIO = "ratio"
    SECONDS = "seconds"
    COUNT = "count"


_FORM = re.compile(r"(>=|<=|==|!=|>|<)\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|%)?")
_SCALE = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "%": 0.01}


class Tolerance(msgspec.Struct, frozen=True):
    """A comparison: ``holds(measured)``; ``text`` is as it was written."""

    compare: str
    limit: float
    suffix: str
    text: str
    EPSILON: ClassVar[float] = 1e-9

    def holds(self, value: float) -> bool:
        """Whether a measured value is within the tolerance; false for NaN."""
        if math.isnan(value):
            return False
        equal = math.isclose(value, self.limit, abs_tol=self.EPSILON)
        match self.compare:
            case ">=":
                return value > self.limit or equal
            case "<=":
                return value < self.limit or equal
            case "==":
                return equal
            case "!=":
                return not equal
            case ">":
                return value > self.limit and not equal
            case _:
                return value < self.limit and not equal

    def fits(self, unit: Unit) -> str:
        """Empty when it fits a probe of this unit, else what is wrong."""
        match unit:
            case Unit.SECONDS:
                wanted, good = "a time such as 60s", self.suffix in ("ms", "s", "m", "h")
            case Unit.RATIO:
                good = self.suffix in ("", "%") and self.limit <= 1
                wanted = "a ratio between 0 and 1, or 0% and 100%"
            case Unit.COUNT:
                wanted, good = "a number", self.suffix == ""
        return "" if good else f"{self.text!r}: this probe measures {unit.value}; give {wanted}"

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.is_instance_schema(cls)


def read_above(value: object) -> object:
    """``> value``: for a limit that is written without its comparison."""
    return _parse_limit(">", value)


def read_below(value: object) -> object:
    """``< value``."""
    return _parse_limit("<", value)


def _parse_limit(compare: str, value: object) -> object:
    if isinstance(value, Tolerance):
        return value
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    text = f"{value}" if plain or isinstance(value, str) else ""
    if _FORM.fullmatch(f"{compare} {text.strip()}") is None:
        raise PydanticCustomError("no_limit", "no limit: write 3, 50% or 2s")
    return tolerance(f"{compare} {text.strip()}")


def tolerance(value: object) -> Tolerance:
    """Parse a tolerance of an experiment file; ``PydanticCustomError`` when it is none."""
    if isinstance(value, Tolerance):
        return value
    if isinstance(value, Mapping) and list(value) == ["ratio"]:
        value = value["ratio"]
    found = _FORM.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError(
            "no_tolerance", 'no tolerance: write ">= 1", "== 0", "< 250ms" or {ratio: ">= 1"}'
        )
    suffix = found[3] or ""
    return Tolerance(
        compare=found[1],
        limit=float(found[2]) * _SCALE.get(suffix, 1.0),
        suffix=suffix,
        text=str(value).strip(),
    )
