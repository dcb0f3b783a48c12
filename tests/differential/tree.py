"""The plays of this tree as a process.

``python -m tests.differential.tree draw COUNT SEED`` prints random schedules, one JSON line each;
``... play FILE PART...`` plays those of the file and the other parts, and prints an ``Outcome`` for
each.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from tests.differential.play import (
    Schedule,
    draw,
    play_experiments,
    play_matrix,
    play_schedules,
)


def main(arguments: list[str]) -> None:
    if arguments[0] == "draw":
        _print(draw(int(arguments[1]), int(arguments[2])))
        return
    lines = Path(arguments[1]).read_bytes().splitlines()
    schedules = [msgspec.json.decode(line, type=Schedule) for line in lines]
    plays = {
        "schedules": lambda: play_schedules(schedules),
        "matrix": play_matrix,
        "experiments": play_experiments,
    }
    for part in arguments[2:]:
        _print(plays[part]())


def _print(found: Iterable[msgspec.Struct]) -> None:
    for one in found:
        sys.stdout.buffer.write(msgspec.json.encode(one) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
