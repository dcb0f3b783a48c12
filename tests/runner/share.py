"""A share of the slow tests: as many as fit into a given time, others for each commit.

Continuous integration plays all quick tests and such a share, so that each slow test has its turn
every few commits.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def choose_share(
    tests: Iterable[str], seconds: float, expected: Callable[[str], float], key: str
) -> set[str]:
    """Of ``tests`` (ids) those to run; they are ``expected`` to take ``seconds`` at most.

    The tests of a function stay together. ``key`` decides which functions come first.
    """
    functions: dict[str, list[str]] = defaultdict(list)
    for test in tests:
        functions[test.partition("[")[0]].append(test)
    chosen: set[str] = set()
    for function in sorted(
        functions, key=lambda name: hashlib.sha256(f"{key} {name}".encode()).digest()
    ):
        takes = sum(map(expected, functions[function]))
        if takes <= seconds:
            chosen.update(functions[function])
            seconds -= takes
    return chosen


def read_commit() -> str:
    """The commit of this checkout; empty without git."""
    git = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return git.stdout.strip()
