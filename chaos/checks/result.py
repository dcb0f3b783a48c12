"""What a check says."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec


class CheckOutcome(StrEnum):
    """What a check or hypothesis came to; ``unknown`` when there was nothing to judge it by."""

    PASS = "pass"
    FAIL = "fail"
    UNKNOWN = "unknown"


class Finding(msgspec.Struct, frozen=True):
    """A result, one sentence, and the ``seq`` of the records it rests on."""

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
