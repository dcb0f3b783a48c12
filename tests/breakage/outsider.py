"""What the tests see of drawn bugs: for each bug those test files that are most likely about it.

A file is likely when it has the module's name or imports it, and when it uses the names of the
function and its class. Each bug is in every process of a pytest of its own.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Final

from tests.breakage.bugs import PACKAGES, ROOT, Bug, sources

ASKED, TOLD, SECONDS = "KEYSTEAD_BREAKAGE", "KEYSTEAD_BREAKAGE_TOLD", "KEYSTEAD_BREAKAGE_S"
"""Variables for the pytest that judges: the file of bugs, where a line for each is written, and how
long one is judged."""
TEST_FILES: Final = 16
SITE: Final = Path(__file__).parent / "site"
BUG: Final = "KEYSTEAD_BREAKAGE_BUG"
MARKS: Final = "not slow and not sweep and not container and not lab"
_NO_JUDGES: Final = ("tests/tidy/", "tests/mutations/", "tests/breakage/")
_OF_TRUST: Final = ("attestation", "keyprovider")  # tested in one folder
_IMPORT = re.compile(r"^ *from ([\w.]+) import (\([^)]*\)|[^\n(]+)", re.M)
_OPTIONS: Final = (
    "-q",
    "-p",
    "no:randomly",
    "-p",
    "no:cacheprovider",
    "--timeout=0",
    "-m",
    MARKS,
)


def likely(bug: Bug, most: int) -> list[str]:
    """Test files, the most likely one first."""
    module = _module(bug.path)
    names = [name for name in bug.function.split(".") if not name.startswith("__")]
    words = re.compile(rf"\b(?:{'|'.join(map(re.escape, names))})\b")
    near = _users({module})
    far = _users(near) - near - {module}
    found: list[tuple[float, str]] = []
    for path, (text, imported) in _read(("tests",)).items():
        score = 6.0 * (PurePosixPath(path).stem == f"test_{PurePosixPath(bug.path).stem}")
        score += 5.0 * (module in imported)
        score += 3.0 * len(set(words.findall(text))) if names else 0.0
        score += 1.0 * len(near & imported) + 0.3 * len(far & imported)
        shared = _shared(path, bug.path)
        found.append((-(score + 0.5 * shared) * (1.0 + 0.5 * shared), path))
    return [path for score, path in sorted(found) if score and _is_judge(path)][:most]


def red(bugs: Sequence[Bug], seconds: float, until: float) -> list[str | None]:
    """Of each bug the first test that is red with it and green without; empty when the tests that
    are asked were green, None for those that nobody had the time to ask before ``until``.

    One pytest collects the likely tests of all bugs, and is forked for each bug.
    """
    files = sorted({path for bug in bugs for path in likely(bug, TEST_FILES)})
    with tempfile.TemporaryDirectory() as folder:
        asked, told = Path(folder) / "asked.json", Path(folder) / "told"
        asked.write_text(json.dumps([dataclasses.asdict(bug) for bug in bugs]))
        told.touch()
        env = os.environ | {ASKED: str(asked), TOLD: str(told), SECONDS: str(seconds)}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "tests.breakage.session",
            *_OPTIONS,
            *files,
        ]
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(
                command,
                cwd=ROOT,
                env=env,
                stdout=subprocess.DEVNULL,
                timeout=max(1.0, until - time.monotonic()),
            )
        lines = told.read_text().splitlines()
    return [lines[n] if n < len(lines) else None for n in range(len(bugs))]


@cache
def _read(packages: tuple[str, ...]) -> dict[str, tuple[str, frozenset[str]]]:
    """The text of each file, and the modules that it imports."""
    found = {}
    for path in sources(packages):
        text = (ROOT / path).read_text("utf-8")
        names = (
            (one, f"{one}.{name.split()[0]}")
            for one, some in _IMPORT.findall(text)
            for name in some.strip("()").replace("\n", "").split(",")
            if name.strip()
        )
        found[path] = text, frozenset(name for pair in names for name in pair)
    return found


def _users(modules: set[str]) -> set[str]:
    return {_module(path) for path, (_, them) in _read(PACKAGES).items() if them & modules}


def _is_judge(path: str) -> bool:
    return PurePosixPath(path).name.startswith("test_") and not path.startswith(_NO_JUDGES)


def _module(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _shared(test: str, path: str) -> int:
    """How many folders of the file the test's folder names, in their order."""
    ours = test.split("/")[1:-1]
    theirs = ["trust" if part in _OF_TRUST else part for part in path.split("/")[:-1]]
    count = 0
    for one, other in zip(ours, theirs, strict=False):
        if one != other:
            break
        count += 1
    return count
