"""A process that holds keys shows its memory to no other program of its user."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from services.runtime.forking.child import TRACEABLE
from tests.onlooker import seen_of, without_capabilities

ROOT: Final = Path(__file__).resolve().parents[4]
WITHHOLDS: Final = """
import os, resource, signal, time
from services.runtime.forking.child import withhold_memory
withhold_memory()
assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)
child = os.fork()
if child:
    print(child, flush=True)
    # What the process reads of itself stays readable.
    assert os.listdir("/proc/self/fd") and open("/proc/self/maps").read()
    input()
    os.kill(child, signal.SIGKILL)
else:
    time.sleep(60)
"""


@contextmanager
def process(traceable: str) -> Iterator[tuple[int, int]]:
    """One that withholds its memory, and a fork of it."""
    environment = {**os.environ, TRACEABLE: traceable}
    command = without_capabilities("-c", WITHHOLDS)
    started = subprocess.Popen(command, cwd=ROOT, env=environment, stdin=-1, stdout=-1, text=True)
    assert started.stdout is not None
    try:
        yield started.pid, int(started.stdout.readline())
    finally:
        started.communicate("\n")
    assert started.returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("traceable", ["", "0", "yes"])
def test_its_memory_is_for_nobody_else(traceable: str) -> None:
    with process(traceable) as pids:
        assert seen_of(pids) == {pid: ["cmdline"] for pid in pids}


def test_a_debugger_is_let_in_by_a_word() -> None:
    with process("1") as pids:
        assert seen_of(pids) == {pid: ["mem", "environ", "cmdline"] for pid in pids}
