"""Errors of loads: title, why, fix, exit code."""

from __future__ import annotations

import os
from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-LOAD-001": (
        "A threshold does not fit the load",
        "It names an operation that is not in the mix, or its form is not valid.",
        "name an operation of `--mix`, or all, and a limit with its unit, as in"
        " `--threshold 'get.p99 < 50ms'`",
        os.EX_USAGE,
    ),
    "KS-LOAD-002": (
        "The load could not start",
        "The server cannot be reached, refuses the client, or does not create its keys.",
        "`keystead kmip replay` with the same arguments says what is wrong, step by step",
        1,
    ),
    "KS-LOAD-003": (
        "The experiment offers no load",
        "Its file has no `load`, so there is nothing to measure.",
        "add `load: {rate: 2/s, for: 5m, mix: {power: 1}}`, or use `keystead chaos run`",
        os.EX_USAGE,
    ),
    "KS-LOAD-004": (
        "No such load is running",
        "No load was started, it has ended, or its process was killed.",
        "`keystead runs --newest` lists the stored loads; a load in virtual time needs its steps"
        " from the start, as in `--rate 100/s:1m,400/s:1m`",
        os.EX_UNAVAILABLE,
    ),
    "KS-LOAD-005": (
        "Several loads are running",
        "Each of them has its own rate.",
        "name the run: `keystead load rate 400/s RUN`",
        os.EX_USAGE,
    ),
    "KS-LOAD-006": (
        "A load in virtual time cannot be changed while it runs",
        "Its seed fixes all operations, so that it can be replayed.",
        "give it steps from the start, as in `--rate 1/s:1m,4/s:1m`",
        os.EX_USAGE,
    ),
    "KS-LOAD-007": (
        "The load cannot take that rate now",
        "It has not started, or would have more operations than one load may have.",
        "wait for its first progress line, or give a lower rate",
        1,
    ),
}
