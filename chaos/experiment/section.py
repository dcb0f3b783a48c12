"""What sections of a file are made of: frozen models, selectors, bounded times, references."""

from __future__ import annotations

import re
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from chaos.units import seconds

Selector = str | list[str] | dict[str, str | int]
_AFTER = re.compile(r"(?P<end>end of\s+)?(?P<id>[a-z0-9](?:-?[a-z0-9])*)(?:\s*\+\s*(?P<plus>.+))?")


class Section(BaseModel):
    """Base of the sections of a file: they are frozen, and unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class After(Section):
    """``wan + 20s``: so long after the begin of the entry ``wan``; ``end of wan + 20s``: after its
    end."""

    id: str
    plus: float
    end: bool = False


def read_after(value: object) -> object:
    """``After`` from its text; ``PydanticCustomError`` when it is none."""
    found = _AFTER.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        text = "write the id of an entry, or: id + 20s, end of id, end of id + 20s"
        raise PydanticCustomError("no_after", text)
    plus_s = seconds(found["plus"]) if found["plus"] else 0.0
    return After(id=found["id"], plus=plus_s, end=found["end"] is not None)


def no_less_than(least_s: float) -> Callable[[float], float]:
    """A validator of times in lab seconds."""

    def check_bound(value: float) -> float:
        if value < least_s:
            raise PydanticCustomError("short", "at least {least}s", {"least": f"{least_s:g}"})
        return value

    return check_bound
