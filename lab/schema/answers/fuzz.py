"""What a campaign of random schedules found, and what it tried."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer


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
