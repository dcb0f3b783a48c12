"""A fork server that is a copy of its owner: clean, as useful as any, and never left over."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from services.runtime.forking.own_forks import CopiedServer

pytestmark = pytest.mark.lab

TARGETS = "tests.services.runtime.forking.targets"
PREAMBLE = f"""
import gc, os, signal, socket, sys, threading, time
from {CopiedServer.__module__} import CopiedServer
from services.runtime.forking.connection import ForkFailed
from services.runtime.forking.packets import ChildEnded, ChildForked, Fork, Ready
T = {TARGETS!r}
def copied(argument):
    line = CopiedServer('ks-copy', T + ':note')
    line.load(argument)
    return line
def forked(line, target, argument=b""):
    sock = line.fork(Fork(1, "ks-x", T + target, argument))
    while isinstance(word := line.receive(20), ChildEnded):
        pass  # of a child before
    assert isinstance(word, ChildForked), word
    return sock, word.pid
"""


def alone(code: str, *, code_wanted: int = 0) -> str:
    """What ``code`` prints in a Python of its own: a test's own process may have threads."""
    done = subprocess.run(
        [sys.executable, "-c", PREAMBLE + code], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == code_wanted, done.stderr
    return done.stdout


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_it_forks_children_with_what_its_owner_has_loaded_and_nothing_that_is_open_there() -> None:
    said = alone(
        "import decimal\n"
        "kept = open('/dev/null'), socket.socketpair()\n"
        "line = copied(b'decimal')\n"
        "print(line.receive(20), line.ended, line.pid != os.getpid())\n"
        "print(forked(line, ':describe')[0].recv(4096).decode())\n"
        "print(forked(line, ':noted')[0].recv(4096).decode())\n"
        "line.close()\n"
    )
    first, child, noted = said.splitlines()
    assert first == "Ready() False True"
    assert child == "('ks-x', True, (0, 0), 1, 5, True, True, False)"
    assert noted == "decimal was there"


def test_closing_ends_it_and_its_children_though_it_is_stopped() -> None:
    said = alone(
        "line = copied(b'os')\n"
        "line.receive(20)\n"
        "_, pid = forked(line, ':mute')\n"
        "os.kill(line.pid, signal.SIGSTOP)\n"
        f"import {__name__}, {CopiedServer.__module__} as made\n"
        "made._END_LIMIT_S = 0.1\n"
        "line.close()\n"
        f"while not {__name__}.gone(pid): time.sleep(0.01)\n"
        "print(os.path.exists(f'/proc/{line.pid}'), line.ended)\n"
    )
    assert said == "False True\n"


def test_it_dies_with_an_owner_that_is_killed(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    alone(
        "line = copied(b'os')\n"
        "line.receive(20)\n"
        f"_, pid = forked(line, ':silent', {str(told).encode()!r})\n"
        f"while not os.path.exists({str(told)!r}): time.sleep(0.01)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n",
        code_wanted=-9,
    )
    child, until = int(told.read_text()), time.monotonic() + 20
    while not gone(child):
        assert time.monotonic() < until
        time.sleep(0.01)


def test_a_process_with_threads_is_not_copied() -> None:
    said = alone(
        "threading.Thread(target=time.sleep, args=(30,), daemon=True).start()\n"
        "try:\n"
        "    copied(b'os')\n"
        "except ForkFailed as error:\n"
        "    print(error, flush=True)\n"
        "os._exit(0)\n"
    )
    assert said == "ks-copy was not forked: 2 threads run here\n"


def test_what_its_owner_has_blocked_is_blocked_neither_there_nor_in_children() -> None:
    """Who starts an agent with signals blocked would have children whose ends nobody hears of, and
    that no SIGTERM ends."""
    said = alone(
        "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "line = copied(b'os')\n"
        "line.receive(20)\n"
        "sock, pid = forked(line, ':echo', b'x')\n"
        "sock.recv(1)\n"
        "print([row.split()[1] for row in open(f'/proc/{pid}/status') if 'SigBlk' in row])\n"
        "sock.close()\n"
        "print(line.receive(5))\n"
        "line.close()\n"
        "print(signal.SIGTERM in signal.pthread_sigmask(signal.SIG_BLOCK, ()))\n"
    )
    mask, end, own = said.splitlines()
    assert mask == "['0000000000000000']" and end.startswith("ChildEnded(pid=") and own == "True"
