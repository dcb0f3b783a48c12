"""``./keystead test --breakage N [--seed S] [--tests] [--minutes M] [--keep]``.

Draws N one-line bugs. The product's judges look for those of ``services``; with ``--tests`` the
tests look for bugs of all four packages. ``--judge`` and ``--only`` repeat a part of a run.
``--keep`` stores what was seen in ``seen.json``, where the next run compares.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from chaos.oracle.terms import Block, TableFault
from tests.breakage.bugs import PACKAGES, Bug, draw
from tests.breakage.early import FILE
from tests.breakage.outsider import red
from tests.breakage.plays import JUDGES as PLAYS
from tests.breakage.product import Sweep
from tests.breakage.table import Row, differences, keep, kept, summary

SERVICES = tuple(
    f"services/{name}"
    for name in ("attestation", "esxi", "keyprovider", "keyservers", "kms", "vcenter")
)
LABS = (38, 42, 8, 47, 16, 3, 35, 27, 28, 5)
"""Labs of campaigns in which random runs are played: every flavour, and each option of a lab."""
RUNS_A_LAB = 2
BLOCKS = (Block.S11, Block.T10, Block.N1X, Block.S10)
FAULTS = (TableFault.F0, TableFault.F1, TableFault.F7, TableFault.F8)
JUDGES = ("fuzz", "matrix", "build", *PLAYS)
TEST_S = 40.0
"""Seconds of processor time for the tests of one bug."""


def main(arguments: Sequence[str]) -> int:
    """0 when all was judged that was drawn; what share was seen is for people."""
    parser = argparse.ArgumentParser("./keystead test --breakage", description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--tests", action="store_true")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--keep", action="store_true")
    parser.add_argument("--judge", action="append", choices=JUDGES, default=[])
    parser.add_argument("--only", action="append", default=[], help="path, or number of the draw")
    given = parser.parse_args(arguments)
    if given.keep and (given.judge or given.only):
        parser.error("--keep stores whole runs: leave --judge and --only out")
    until = time.monotonic() + 60.0 * given.minutes
    drawn = draw(given.count, given.seed, PACKAGES if given.tests else SERVICES)
    bugs = [bug for n, bug in enumerate(drawn) if is_meant(bug, n, given.only)]
    rows = by_tests(bugs, until) if given.tests else by_product(bugs, until, given.judge or JUDGES)
    run = f"{'tests' if given.tests else 'product'}, seed {given.seed}"
    print("\n".join((*summary(rows), *differences(kept().get(run, ()), rows))))
    if given.keep:
        keep(run, rows)
    return 0 if len(rows) == len(bugs) else 1


def is_meant(bug: Bug, number: int, only: Sequence[str]) -> bool:
    """Whether ``--only`` names the bug's number, its file or a folder of it; nothing names all."""
    return not only or any(one == str(number) or bug.path.startswith(one) for one in only)


def by_tests(bugs: Sequence[Bug], until: float) -> tuple[Row, ...]:
    """The first test that turns red with each bug, and is green without."""
    return tuple(
        Row(bug=bug.name, judge="tests" * test.startswith("tests/"), said=test)
        for bug, test in zip(bugs, red(bugs, TEST_S, until), strict=True)
        if test is not None
    )


def by_product(bugs: Sequence[Bug], until: float, judges: Sequence[str]) -> tuple[Row, ...]:
    """Random runs, the truth table, labs that have the bug from their building on, then plays."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "bugs.json"
        file.write_text(json.dumps([dataclasses.asdict(bug) for bug in bugs]))
        os.environ[FILE] = str(file)
        sweep = Sweep(bugs, until, say, file.with_suffix(".reached"))
        for judge in judges:
            match judge:
                case "fuzz":
                    sweep.fuzz(LABS, RUNS_A_LAB)
                case "matrix":
                    sweep.matrix(BLOCKS, FAULTS)
                case "build":
                    sweep.builds(LABS)
                case _:
                    sweep.plays(judge)
    return tuple(
        Row(
            bug=bug.name,
            judge=sight.judge,
            said=sight.said,
            where=sight.where,
            reached=bool(sight.reached) or number in sweep.built,
        )
        for number, (bug, sight) in enumerate(zip(bugs, sweep.sights, strict=True))
    )


def say(text: str) -> None:
    print(f"breakage: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
