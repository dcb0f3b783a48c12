"""How commands ended that play many runs: experiments, campaigns of random schedules, crash sweeps,
conformance assertions.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from lab.schema.answers.base import Answer
from protocol.messages.agent import TpmBackend


class PlayedExperiment(msgspec.Struct, frozen=True, kw_only=True):
    """One that was played: its ``run``, verdict and exit code, and ``why`` when it did not pass.
    One that was refused has no run, and the exit code of the refusal. ``seconds`` are real ones."""

    experiment: str
    verdict: str
    exit_code: int
    run: str = ""
    seconds: float = 0.0
    why: str = ""


class PlayedExperiments(Answer, frozen=True, kw_only=True):
    """In the order in which they were played; ``left`` are those that an interrupt has left."""

    items: tuple[PlayedExperiment, ...]
    left: tuple[str, ...] = ()


class ForkedRun(Answer, frozen=True, kw_only=True):
    """A run that is the run ``of`` up to ``at`` (seconds of the run), and has one more fault from
    there on. ``differences`` are sentences about both."""

    run: str
    of: str
    at: float
    fault: str
    verdict: str
    exit_code: int
    differences: tuple[str, ...]


EXPERIMENTS: tuple[type[Answer], ...] = (PlayedExperiments, ForkedRun)


class FoundFailure(msgspec.Struct, frozen=True, kw_only=True):
    """A way in which runs failed: by ``seeds`` of the campaign, ``smallest`` what it was shrunk to
    (in words), after ``runs`` runs, in ``file``; empty and 0 when nothing was shrunk. ``lab``: in
    words, that of the smallest, else that of the first seed."""

    failure: str
    seeds: tuple[int, ...]
    smallest: str = ""
    faults: int | None = None
    runs: int = 0
    file: str = ""
    lab: str = ""


class FuzzReport(Answer, frozen=True, kw_only=True):
    """``played``: seeds of this campaign so far, ``now`` of them by this command, in ``seconds``;
    ``cpu_ms``: processor time of a run on average; ``twice``: how many were played again to see
    whether they are the same. ``labs``: in words, with the
    seeds that were played in each. ``tried`` counts what was tried, ``untried`` what never was;
    ``undrawn``: the faults that no campaign draws by itself, and why.
    """

    campaign: str
    folder: str
    tpm: str
    labs: dict[str, int]
    played: int
    now: int
    seconds: float
    cpu_ms: float
    twice: int
    items: tuple[FoundFailure, ...]
    tried: dict[str, dict[str, int]]
    untried: dict[str, tuple[str, ...]]
    undrawn: dict[str, str]


class ShrunkRun(Answer, frozen=True, kw_only=True):
    """An experiment that fails, made small: what fails, from what to what, and the file of it."""

    failure: str
    before: str
    after: str
    shape: str
    runs: int
    file: str


FUZZ: tuple[type[Answer], ...] = (FuzzReport, ShrunkRun)


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
