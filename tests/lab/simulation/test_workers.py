"""Where workers come from: a process with one thread has its own, one with more has a server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
CODE = """
import sys, threading
from lab.simulation.workers import workers
from services.runtime.sim.runner import run_in_worker
from tests.services.runtime.sim.talker import add
wait = threading.Event()
for _ in range({more}):
    threading.Thread(target=wait.wait).start()
with workers() as forks:
    print(type(forks).__name__, run_in_worker(add, 2, 3, server=forks))
wait.set()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("more", "kind"), [(0, "OwnForks"), (1, "ForkServer")])
def test_a_process_with_threads_has_a_server(more: int, kind: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", CODE.format(more=more)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert ran.stdout.split() == [kind, "5"]
