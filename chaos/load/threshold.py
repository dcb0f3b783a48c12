"""Thresholds: what a load has to keep, such as ``get.p99 < 50ms``, ``all.errors < 1%``."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from pydantic_core import PydanticCustomError

from chaos.units import per_second, seconds, share

ALL: Final = "all"
"""The name of all operations together."""
_FORM: Final = re.compile(
    r"\s*(?P<op>[A-Za-z0-9_.-]+)\.(?P<what>p[0-9]{1,2}(\.[0-9]{1,3})?|p100|max|errors|rate)"
    r"\s*(?P<sign><=|>=|<|>)\s*(?P<limit>\S(.*\S)?)\s*"
)
_SIGNS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SAY: Final = "write OPERATION.WHAT < LIMIT, as get.p99 < 50ms, all.errors < 1%, all.rate > 290/s"


class Threshold(NamedTuple):
    """``what`` of an operation is held against ``limit``: seconds, a share, or operations a second.

    ``text`` is how it was written.
    """

    text: str
    operation: str
    what: str
    sign: str
    limit: float

    @property
    def percentile(self) -> float | None:
        """Of the latency, 100 for the longest; None for another figure."""
        if self.what == "max":
            return 100.0
        return float(self.what[1:]) if self.what.startswith("p") else None

    def holds(self, value: float) -> bool:
        """Whether a measured value keeps it."""
        return _SIGNS[self.sign](value, self.limit)


def check_of(threshold: str) -> str:
    """What a run calls the check of a threshold, as it was written."""
    return f"threshold {threshold.strip()}"


def read_threshold(text: str, operations: Sequence[str]) -> Threshold:
    """``ValueError`` when it names no operation of the load, or cannot be read."""
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"the threshold {text!r} cannot be read: {_SAY}")
    if found["op"] not in (*operations, ALL):
        there = ", ".join((*operations, ALL))
        raise ValueError(
            f"the threshold {text!r} names no operation of this load; there are {there}"
        )
    read = {"errors": share, "rate": per_second}.get(found["what"], seconds)
    limit: object = found["limit"]
    sign = found["sign"]
    if read is share and re.fullmatch(r"[0-9.]{1,12}", found["limit"]):
        limit = float(found["limit"]) if found["limit"].count(".") < 2 else limit
    try:
        value = read(limit)
    except PydanticCustomError as error:
        raise ValueError(f"the threshold {text!r}: {error.message()}") from None
    if (sign, value) == ("<", 0) or (found["what"], sign, value) == ("errors", ">", 1):
        raise ValueError(f"the threshold {text!r}: nothing can ever hold it")
    return Threshold(text.strip(), found["op"], found["what"], sign, value)
