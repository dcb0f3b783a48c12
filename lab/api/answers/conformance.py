"""What a play of the conformance assertions is answered with."""

from __future__ import annotations

from lab.api.answers.base import Answer
from lab.conformance.standing import Asserted


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
