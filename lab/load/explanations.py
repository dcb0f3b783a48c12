"""Errors of loads, as ``lab.errors`` has them: title, why it happens, what to do, exit code."""

from __future__ import annotations

import os
from typing import Final

EXPLANATIONS: Final[dict[str, tuple[str, str, str, int]]] = {
    "KS-LOAD-001": (
        "A threshold fits nothing of the load",
        "It names an operation that is not in the mix, or it cannot be read.",
        "name an operation of `--mix`, or all, as in `--threshold 'get.p99 < 50ms'`",
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
}
