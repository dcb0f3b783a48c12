"""What came of an assertion."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Standing(StrEnum):
    """What came of an assertion."""

    PASS = "pass"
    FAIL = "fail"
    NOT_AVAILABLE = "not available"


class Asserted(msgspec.Struct, frozen=True, kw_only=True):
    """An assertion and what came of it. ``seen``: what was seen; ``needs``: why it is not
    available. ``seconds`` of real time."""

    id: str
    title: str
    standing: Standing
    seen: str = ""
    needs: str = ""
    seconds: float = 0.0
