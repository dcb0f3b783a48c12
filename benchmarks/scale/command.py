"""CPU time of a whole command line: its process and every other that it starts.

``python -m benchmarks.scale.command WORD...`` runs ``keystead WORD...`` and writes one JSON line:
the CPU seconds and the exit code. What the command leaves behind, because it ends before its
children, comes to this process (it is their reaper), which waits for all of them.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import msgspec

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.experiment import EXPERIMENT
from benchmarks.staging import folder

_PR_SET_CHILD_SUBREAPER = 36
ROOT = Path(__file__).resolve().parents[3]
LIMIT_S = 120.0  # seconds; no bar, only the end of a command that hangs


class Spent(msgspec.Struct, frozen=True):
    """CPU seconds of a command, and its exit code."""

    seconds: float
    code: int


class WholeCommand(Benchmark):
    name: ClassVar[str] = "chaos-command"
    measures: ClassVar[str] = f"the whole command: chaos run {EXPERIMENT} --mode sim"
    unit: ClassVar[str] = "s"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 1.4)
    repeats: ClassVar[int] = 5

    async def run(self, report: Report) -> Figures:
        with folder() as home:
            run = ("chaos", "run", EXPERIMENT, "--mode", "sim")
            await _measure_command(home, *run)  # compiles what is imported
            helped = await _measure_command(home, "--help")
            return Figures(await _measure_command(home, *run), {"help_s": helped})


def _environment(home: Path) -> dict[str, str]:
    """State and bytecode in a folder of the benchmark's own: whether the checkout has bytecode,
    and may be written to, is no cost of a command."""
    env = {n: value for n, value in os.environ.items() if n != "PYTHONDONTWRITEBYTECODE"}
    own = {"KEYSTEAD_STATE_HOME": home / "state", "PYTHONPYCACHEPREFIX": home / "bytecode"}
    return env | {name: str(path) for name, path in own.items()}


async def _measure_command(home: Path, *words: str) -> float:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        *words,
        stdout=asyncio.subprocess.PIPE,
        cwd=ROOT,
        env=_environment(home),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(LIMIT_S):
            line, _ = await process.communicate()
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if process.returncode != 0:
        raise CannotRun(f"keystead {' '.join(words)} was not measured")
    spent = msgspec.json.decode(line, type=Spent)
    if spent.code != 0:
        raise CannotRun(f"keystead {' '.join(words)} ended with {spent.code}")
    return spent.seconds


def main() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    command = [sys.executable, "-m", "lab.cli.main", *sys.argv[1:]]
    quiet = subprocess.DEVNULL
    code = subprocess.run(command, stdout=quiet, stderr=quiet, check=False).returncode
    try:
        while True:
            os.waitpid(-1, 0)
    except ChildProcessError:  # there is none left
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
    answer = Spent(used.ru_utime + used.ru_stime, code)
    sys.stdout.write(msgspec.json.encode(answer).decode() + "\n")


if __name__ == "__main__":
    main()
