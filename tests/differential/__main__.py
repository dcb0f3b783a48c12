"""``./keystead test --against TREE [--schedules N] [--from SEED] [--part PART]...``.

Plays the same random schedules, the whole matrix and all shipped experiments with the code of
another checkout and with the code here, and lists what did not end the same: verdicts, letters, end
states. For changes that must not change behaviour. The other checkout needs an environment
(``./keystead setup``) and this folder.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from tests.differential.play import PARTS, Outcome

HERE = Path(__file__).resolve().parents[2]
LISTED = 20

Outcomes = Mapping[tuple[str, str], Outcome]


def differences(old: Outcomes, new: Outcomes) -> list[str]:
    """What ended otherwise, a line each: ``matrix S00 F1 E2: letter A -> B``."""
    found = []
    for part, name in sorted(old.keys() | new.keys()):
        before, after = old.get((part, name)), new.get((part, name))
        if before is None or after is None:
            found.append(f"{part} {name}: {'only in' if before is None else 'not in'} the new tree")
            continue
        for what in sorted(before.seen.keys() | after.seen.keys()):
            was, now = before.seen.get(what, "-"), after.seen.get(what, "-")
            if was != now:
                found.append(f"{part} {name}: {what} {_part(was, now)} -> {_part(now, was)}")
    return found


def _part(text: str, other: str) -> str:
    """``text`` from a little before the place where it begins to differ from ``other``."""
    same = next((n for n, (a, b) in enumerate(zip(text, other, strict=False)) if a != b), 0)
    return text if len(text) < 80 else f"...{text[max(0, same - 40) : same + 60]}..."


def summary(old: Outcomes, new: Outcomes) -> list[str]:
    """How much was compared, how many traces are the same (they may change with an order), and how
    many plays raised in the new tree."""
    lines = []
    for part in PARTS:
        both = [key for key in old.keys() & new.keys() if key[0] == part]
        traced = [key for key in both if old[key].trace]
        same = sum(old[key].trace == new[key].trace for key in traced)
        traces = f", {same} of {len(traced)} with the same trace" if traced else ""
        raised = sum("raised" in new[key].seen for key in both)
        if both:
            lines.append(f"{part}: {len(both)} compared{traces}, {raised} raised")
    return lines


def play(tree: Path, arguments: Sequence[str], into: Path) -> subprocess.Popen[bytes]:
    """``tests.differential.tree`` with the code and the environment of ``tree``; it prints into a
    file, so that neither of two trees waits for the other one's lines to be read."""
    python = Path(sys.executable) if tree == HERE else tree / ".venv" / "bin" / "python"
    environment = os.environ | {"PYTHONPATH": str(tree), "PYTHONHASHSEED": "0"}
    with into.open("wb") as out:
        return subprocess.Popen(
            [python, "-m", "tests.differential.tree", *arguments],
            cwd=tree,
            env=environment,
            stdout=out,
        )


def read_outcomes(lines: Iterable[bytes]) -> dict[tuple[str, str], Outcome]:
    found = (msgspec.json.decode(line, type=Outcome) for line in lines if line.strip())
    return {(one.part, one.name): one for one in found}


def compare(other: Path, schedules: int, first: int, parts: Sequence[str]) -> list[str]:
    """The lines to print; the last says how many differences there are."""
    with tempfile.TemporaryDirectory() as folder:
        drawn, *played = (Path(folder) / name for name in ("schedules", "old", "new"))
        drawing = play(other, ("draw", str(schedules), str(first)), drawn)
        drawing.wait()
        trees = zip((other, HERE), played, strict=True)
        playing = [play(tree, ("play", str(drawn), *parts), into) for tree, into in trees]
        for process in playing:
            process.wait()
        old, new = (read_outcomes(into.read_bytes().splitlines()) for into in played)
    ended = [process.returncode for process in (drawing, *playing)]
    if any(ended):
        return [f"a tree did not play to its end: exit codes {ended}", "not compared"]
    found = differences(old, new)
    more = len(found) - LISTED
    return [
        *found[:LISTED],
        *([f"... and {more} more"] if more > 0 else []),
        *summary(old, new),
        f"{len(found)} differences",
    ]


def main(arguments: Sequence[str]) -> int:
    """0 when all ended the same."""
    parser = argparse.ArgumentParser("./keystead test --against", description=__doc__)
    parser.add_argument("tree", type=Path)
    parser.add_argument("--schedules", type=int, default=200)
    parser.add_argument("--from", type=int, default=0, dest="first")
    parser.add_argument("--part", action="append", choices=PARTS, default=[])
    given = parser.parse_args(arguments)
    if not (given.tree / "tests" / "differential" / "tree.py").is_file():
        parser.error(f"{given.tree} is no checkout with tests/differential")
    lines = compare(given.tree.resolve(), given.schedules, given.first, given.part or PARTS)
    print("\n".join(lines))
    return 0 if lines[-1] == "0 differences" else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
