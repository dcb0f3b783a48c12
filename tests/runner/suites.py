"""Small suites of their own, run by the real pytest with this project's runner."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]
_OPTIONS = ("-p", "tests.runner.plugin", "-p", "no:randomly", "-p", "no:xdist", "-rA")


@dataclass
class Ended:
    """How a run ended."""

    code: int
    out: str

    def named(self, outcome: str) -> set[str]:
        """Names of the tests that ended so: ``PASSED``, ``FAILED``, ``ERROR``, ``SKIPPED``."""
        return set(re.findall(rf"^{outcome} \S+::(\S+)", self.out, re.M))

    def line(self, word: str) -> str:
        """The one line with ``word`` in it."""
        found = [line for line in self.out.splitlines() if word in line]
        assert len(found) == 1, self.out
        return found[0]


class Suite:
    """A folder of tests; ``run`` waits for pytest, ``begin`` does not."""

    def __init__(self, folder: Path, **modules: str) -> None:
        self.folder = folder
        (folder / "pytest.ini").write_text(
            "[pytest]\nasyncio_mode = auto\nmarkers =\n    lab: starts real processes\n"
        )
        for name, text in modules.items():
            (folder / f"{name}.py").write_text(dedent(text))

    def begin(self, *arguments: str, path: tuple[Path, ...] = (ROOT,)) -> subprocess.Popen[str]:
        environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PYTEST_", "KEYSTEAD_"))
        }
        return subprocess.Popen(
            [sys.executable, "-m", "pytest", *_OPTIONS, *arguments],
            cwd=self.folder,
            env={**environment, "PYTHONPATH": os.pathsep.join(map(str, path))},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, *arguments: str, path: tuple[Path, ...] = (ROOT,)) -> Ended:
        """``path``: folders from which Python imports."""
        process = self.begin(*arguments, path=path)
        out, _ = process.communicate(timeout=100)
        return Ended(process.returncode, out)
