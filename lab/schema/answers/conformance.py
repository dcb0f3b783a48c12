"""What a play of the conformance assertions is answered with."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from lab.schema.answers.base import Answer

# ---- standing ------------------------------------------------------------------------------------
# What came of an assertion.


class AssertionStanding(StrEnum):
    """What came of an assertion."""

    PASS = "pass"
    FAIL = "fail"
    NOT_AVAILABLE = "not available"


class Asserted(msgspec.Struct, frozen=True, kw_only=True):
    """An assertion and what came of it. ``seen``: what was seen; ``needs``: why it is not
    available. ``seconds`` of real time."""

    id: str
    title: str
    standing: AssertionStanding
    seen: str = ""
    needs: str = ""
    seconds: float = 0.0


class Conformance(Answer, frozen=True, kw_only=True):
    """Each assertion with what came of it; ``not_available``: how many cannot be played in
    this mode. ``seconds``
    of real time. ``exit_code`` 1: one failed."""

    mode: str
    seed: int
    seconds: float
    passed: int
    failed: int
    not_available: int
    exit_code: int
    items: tuple[Asserted, ...]
