"""What a crash sweep is answered with."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer
from protocol.messages.agent import TpmBackend


class SweptEffect(msgspec.Struct, frozen=True, kw_only=True):
    """One way in which one store was struck: how often, and how the store was found then.

    ``effect`` is ``when:happening``; ``old`` and ``new``: as before the step that was struck, or
    as after it; ``between``: after some of the requests of a step of several; ``refused``: the
    node told that its device had not kept what it was given; ``wrong`` is how many plays broke a
    rule.
    """

    store: str
    effect: str
    plays: int
    old: int
    new: int
    between: int
    wrong: int
    refused: int = 0


class SweptPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A blow at a point that broke a rule; ``acknowledged``: the step it fell in was.

    ``records`` are what the nodes recorded after it, and ``again`` plays just this again.
    """

    point: str
    step: str
    acknowledged: bool
    violations: tuple[str, ...]
    records: tuple[str, ...]
    again: str


class Sweep(Answer, frozen=True, kw_only=True):
    """A crash sweep: ``points`` were struck in ``plays``, in ``seconds`` of real time.

    ``cpu_seconds`` of processors went into the plays, each from its blow to its end; 0 of
    one that was kept before that was measured.

    ``items`` are the violations; ``exit_code`` is 0 when there is none, else 1.
    """

    run: str
    tpm: TpmBackend
    seed: int
    seconds: float
    cpu_seconds: float = 0.0
    points: int
    plays: int
    exit_code: int
    effects: tuple[SweptEffect, ...]
    items: tuple[SweptPoint, ...]
