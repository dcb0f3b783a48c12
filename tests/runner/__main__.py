"""``./keystead test``: linters, types and contracts beside pytest, and one verdict.

``--all`` does the same with the slow tests among the others, ``--share SECONDS`` with as many of
them as take so long, others for each commit. The other runs have tests only:
``--map`` and ``--changed`` (``tests.runner.reach``), ``--slow``, ``--sweeps``, ``--mutants``,
``--kills``, ``--breakage``, ``--against``, and ``--again`` for what failed last. Everything else
goes to pytest as it is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.runner.leftovers import end_with_parent

Command = Sequence[str]

_PYTEST = (sys.executable, "-m", "pytest")
_SHARED = ("--workers", "auto")
QUICK = "not slow and not sweep"
ALL = "not sweep"
"""The tests of the two whole runs; ``tests.reached`` compares what they reach with the registries.
"""
CHECKS: Mapping[str, Command] = {
    "ruff-check": (sys.executable, "-m", "ruff", "check", "."),
    "ruff-format": (sys.executable, "-m", "ruff", "format", "--check", "."),
    "mypy": (sys.executable, "-m", "mypy"),
    "import-contracts": (str(Path(sys.executable).with_name("lint-imports")), "--no-cache"),
}
_CHECKS_NICE = 5


def say(text: str) -> None:
    print(f"keystead: {text}", file=sys.stderr, flush=True)


class Checks:
    """Runs commands one after another beside the tests; tells of each that fails at once."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._running: subprocess.Popen[str] | None = None
        self._stopped = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failed: list[str] = []

    def begin(self) -> None:
        self._thread.start()

    def wait(self) -> list[str]:
        """The names of those that failed, when all are done."""
        self._thread.join()
        return self.failed

    def stop(self) -> None:
        self._stopped = True
        if self._running is not None:
            self._running.kill()
        self._thread.join()

    def _run(self) -> None:
        for name, command in self._commands.items():
            if self._stopped:
                return
            self._running = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                preexec_fn=_beside,
            )
            out, _ = self._running.communicate()
            if self._running.returncode and not self._stopped:
                self.failed.append(name)
                say(f"{name} failed\n{out.rstrip()}")


def _apart() -> None:
    os.setpgid(0, 0)
    end_with_parent(signal.SIGTERM)


def _beside() -> None:
    os.nice(_CHECKS_NICE)
    end_with_parent(signal.SIGKILL)


def whole(checks: Mapping[str, Command], tests: Command) -> int:
    """All of them; 0 when all pass. A signal ends both, and the run with 2 as pytest's own."""
    heard: list[int] = []
    beside = Checks(checks)
    # A group of its own, so that Ctrl-C at a terminal reaches it once: by us.
    pytest = subprocess.Popen(tests, preexec_fn=_apart)

    def hand_on(number: int, frame: object) -> None:
        if not heard:
            pytest.send_signal(signal.SIGTERM)
        heard.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hand_on)
    beside.begin()
    code = pytest.wait()
    if heard:
        beside.stop()
        return 2
    failed = beside.wait()
    if code:
        failed.append("pytest")
    if failed:
        say(f"failed: {' '.join(failed)}")
    return 1 if failed else 0


def main(arguments: Sequence[str]) -> int:
    """Run what ``./keystead test`` was given; its exit code."""
    # A run without a cache of compiled modules spends most of its start in compiling them.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    command: Command
    match arguments:
        case [] | ["--all"] | ["--share", _]:
            say(f"{', '.join(CHECKS)} and pytest")
            marked, share = ALL if arguments else QUICK, arguments[:2] if arguments[1:] else ()
            return whole(CHECKS, (*_PYTEST, *_SHARED, "-m", marked, *share))
        case ["--slow"]:
            command = (*_PYTEST, *_SHARED, "-m", "slow")
        case ["--sweeps"]:
            command = (*_PYTEST, *_SHARED, "-m", "sweep")
        case ["--map"]:
            command = (*_PYTEST, *_SHARED, "-m", QUICK, "--map")
        case ["--changed"]:
            command = (*_PYTEST, *_SHARED, "-m", QUICK, "--changed")
        case ["--again"]:
            command = (*_PYTEST, "--lf", "--lfnf=none", "--name-flaky")
        case ["--mutants", *patterns]:
            command = (sys.executable, "-m", "tests.mutations.mutants", *patterns)
        case ["--kills", *options]:
            command = (sys.executable, "-m", "tests.kills", *options)
        case ["--breakage", *options]:
            command = (sys.executable, "-m", "tests.breakage", *options)
        case ["--against", *options]:
            command = (sys.executable, "-m", "tests.differential", *options)
        case _:
            command = (*_PYTEST, *arguments)
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
