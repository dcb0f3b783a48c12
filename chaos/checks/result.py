"""The result of a check."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class CheckOutcome(StrEnum):
    """The outcome of a check or hypothesis; ``unknown`` when there was nothing to judge."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """An outcome, one sentence, and the ``seq`` of the records that show it."""

    result: CheckOutcome
    text: str
    records: tuple[int, ...] = ()


class CheckResult(msgspec.Struct, frozen=True, kw_only=True):
    """A finding under the name of its check or hypothesis, as the verdict lists it."""

    name: str
    result: CheckOutcome
    text: str
    records: tuple[int, ...] = ()
    data: dict[str, Any] = {}
