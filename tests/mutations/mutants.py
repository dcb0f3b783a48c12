"""Mutants: mutmut changes one place at a time in the files that decide or bind.

``./keystead test --mutants [PATTERN...]`` runs them, prints those that survive by file, and fails
when more than one in twenty does. A pattern is mutmut's name of mutants, such as
``chaos.keeper*``. The files and the tests that may kill are in ``pyproject.toml``; what mypy
refuses counts as killed, since the type checker is a part of the tests. A survivor that changes
nothing anybody could see is entered in ``equivalents.yaml``, with the reason.

Work goes on where it was stopped: mutmut keeps its results in ``mutants/``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import yaml

ROOT = Path(__file__).parents[2]
EQUIVALENTS = Path(__file__).parent / "equivalents.yaml"
LOCK = ROOT / "requirements-mutants.lock"
MOST = 0.05
"""Survivors among all mutants that were run, at most, accepted equivalents aside."""

_ALIVE = frozenset({0, 5, 33})
"""What mutmut notes of a mutant that passed its tests, or for which pytest or it found none."""
_NOT_RUN = frozenset({None, 2, 34})
"""Not reached yet, interrupted by a person, or left out."""


class Equivalent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A mutant that may survive: in ``file`` the line ``before`` becomes ``after``; and ``why``."""

    file: str
    before: str
    after: str
    why: str


@dataclass(frozen=True)
class Mutant:
    """A mutant by mutmut's name, with the lines that differ, stripped."""

    name: str
    file: str
    before: str
    after: str


class _Meta(msgspec.Struct):
    exit_code_by_key: dict[str, int | None]


def mutant_of(name: str, file: str, shown: str) -> Mutant:
    """The mutant as ``mutmut show`` prints it: a unified diff under a line of its own."""
    changed: dict[str, list[str]] = {"-": [], "+": []}
    for line in shown.splitlines():
        if line[:1] in changed and line[:3] not in ("---", "+++"):
            changed[line[0]].append(line[1:].strip())
    return Mutant(name, file, " ".join(changed["-"]), " ".join(changed["+"]))


def accepted() -> tuple[Equivalent, ...]:
    """The committed list."""
    listed = yaml.safe_load(EQUIVALENTS.read_text("utf-8")) or []
    return msgspec.convert(tuple(listed), tuple[Equivalent, ...])


def unaccepted(
    survivors: Iterable[Mutant], equivalents: Iterable[Equivalent]
) -> tuple[list[Mutant], list[Equivalent]]:
    """Survivors that are not in the list, and entries of it that no survivor is (any more)."""
    left = {(e.file, e.before, e.after): e for e in equivalents}
    used = set()
    found = []
    for mutant in survivors:
        key = (mutant.file, mutant.before, mutant.after)
        if key in left:
            used.add(key)
        else:
            found.append(mutant)
    return found, [entry for key, entry in left.items() if key not in used]


def results(folder: Path) -> dict[str, dict[str, int]]:
    """What became of the mutants that were run: for each file, exit codes by mutmut's name."""
    found: dict[str, dict[str, int]] = {}
    for meta in sorted(folder.rglob("*.py.meta")):
        codes = msgspec.json.decode(meta.read_bytes(), type=_Meta).exit_code_by_key
        run = {n: c for n, c in codes.items() if c is not None and c not in _NOT_RUN}
        if run:
            found[str(meta.relative_to(folder)).removesuffix(".meta")] = run
    return found


def alive(run: dict[str, dict[str, int]]) -> list[tuple[str, str]]:
    """Names and files of the mutants that no test and no type told."""
    return [(n, file) for file, codes in run.items() for n, c in codes.items() if c in _ALIVE]


def report(
    run: dict[str, dict[str, int]], survivors: Sequence[Mutant], needless: Sequence[Equivalent]
) -> tuple[list[str], bool]:
    """Lines for people, and whether it is good enough."""
    total = sum(len(codes) for codes in run.values())
    lines = []
    for file, codes in run.items():
        here = [mutant for mutant in survivors if mutant.file == file]
        lines.append(f"{file}: {len(here)} of {len(codes)} survive")
        for mutant in here:
            lines += [f"  {mutant.name}", f"    - {mutant.before}", f"    + {mutant.after}"]
    lines += [
        f"{EQUIVALENTS.name}: no survivor is {entry.file}: {entry.after}" for entry in needless
    ]
    share = len(survivors) / total if total else 1.0
    lines.append(
        f"{len(survivors)} of {total} mutants survive ({share:.1%}); at most {MOST:.0%} may"
    )
    return lines, share <= MOST


def main(patterns: Sequence[str]) -> int:
    """Run mutmut, then tell; 0 when few enough survive."""
    python = sys.executable
    uv = Path(python).with_name("uv")
    install = [str(uv), "pip", "install", "-q", "--python", python, "--require-hashes"]
    subprocess.run([*install, "-r", str(LOCK)], cwd=ROOT, check=True)
    # mutmut finds mypy by the path, and must find the one of this environment.
    path = os.pathsep.join([str(Path(python).parent), os.environ.get("PATH", os.defpath)])
    run_all = [python, "-m", "mutmut", "run", *patterns]
    subprocess.run(run_all, cwd=ROOT, check=True, env=os.environ | {"PATH": path})
    run = results(ROOT / "mutants")
    survivors, needless = unaccepted((_shown(*one) for one in alive(run)), accepted())
    lines, good = report(run, survivors, [] if patterns else needless)
    print("\n".join(lines))
    return 0 if good and (patterns or not needless) else 1


def _shown(name: str, file: str) -> Mutant:
    show = [sys.executable, "-m", "mutmut", "show", name]
    told = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True)
    return mutant_of(name, file, told.stdout)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
