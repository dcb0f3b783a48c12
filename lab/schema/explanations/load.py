"""Errors of loads: title, why, fix, exit code."""

from __future__ import annotations

import os
from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-LOAD-001": (
        "A threshold fits nothing of the load",
        "It names an operation that is not in the mix, or it cannot be read.",
        "name an operation of `--mix`, or all, and a limit with its unit, as in"
        " `--threshold 'get.p99 < 50ms'`",
        os.EX_USAGE,
    ),
    "KS-LOAD-002": (
        "The load could not begin",
        "The server cannot be reached, refuses the client, or does not make the keys that the load"
        " is about.",
        "`keystead kmip replay` with the same arguments says what is wrong, step by step",
        1,
    ),
    "KS-LOAD-003": (
        "The experiment offers no load",
        "Its file has no `load`, so that there are no figures of one.",
        "add `load: {rate: 2/s, for: 5m, mix: {power: 1}}`, or use `keystead chaos run`",
        os.EX_USAGE,
    ),
    "KS-LOAD-004": (
        "No such load runs",
        "Nobody offers a load now that could be changed: none was begun, or it has ended, or its"
        " process was killed.",
        "`keystead runs --newest` lists those that were kept; a load in virtual time has its steps"
        " from the begin, as in `--rate 100/s:1m,400/s:1m`",
        os.EX_UNAVAILABLE,
    ),
    "KS-LOAD-005": (
        "Several loads run",
        "Each of them has a rate of its own.",
        "name the run that is meant: `keystead load rate 400/s RUN`",
        os.EX_USAGE,
    ),
    "KS-LOAD-006": (
        "A load in virtual time is not changed while it runs",
        "Its seed fixes all that it does, so that it can be played again.",
        "give it steps from the begin, as in `--rate 1/s:1m,4/s:1m`",
        os.EX_USAGE,
    ),
    "KS-LOAD-007": (
        "The rate of the load cannot be changed to that now",
        "It has not begun, or with that rate more would be offered than one load may have.",
        "wait for its first progress line, or give a lower rate",
        1,
    ),
}
