"""How several experiments ended that one command has played."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer


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
