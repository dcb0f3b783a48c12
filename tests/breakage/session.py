"""A plugin of the pytest that judges drawn bugs: a fork of it for each, which has the bug."""

from __future__ import annotations

import dataclasses
import json
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from _pytest.runner import runtestprotocol

from lab.simulation.workers import simulations
from services.runtime.sim.runner import default_server
from tests.breakage.bugs import ROOT, Bug
from tests.breakage.outsider import ASKED, BUG, SECONDS, SITE, TEST_FILES, TOLD, likely
from tests.breakage.planting import plant

LATE: Final = "out of time"
PATIENCE: Final = 8
"""Real seconds for each second of processor time, at most."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    """Judge every bug, and write the line of each as soon as it is known."""
    seconds = float(os.environ[SECONDS])
    by_file: dict[str, list[pytest.Item]] = {}
    for item in session.items:
        by_file.setdefault(item.nodeid.partition("::")[0], []).append(item)
    for one in json.loads(Path(os.environ[ASKED]).read_bytes()):
        bug = Bug(**one)
        items = [item for path in likely(bug, TEST_FILES) for item in by_file.get(path, [])]
        test = _first_red(items, bug, seconds)
        if test.startswith("tests/"):
            alone = [item for item in items if item.nodeid == test]
            test = "" if _first_red(alone, None, seconds) else test
        with Path(os.environ[TOLD]).open("a") as told:
            told.write(f"{test}\n")
    return True


def _first_red(items: Sequence[pytest.Item], bug: Bug | None, seconds: float) -> str:
    """The first that fails in a process of their own; empty when none does, ``LATE`` when none has
    until the time is over."""
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        os.setpgid(0, 0)
        os.write(send, _play(items, bug, seconds).encode())
        os._exit(0)
    os.close(send)
    try:
        ready, _, _ = select.select([receive], [], [], PATIENCE * seconds)
        return os.read(receive, 4096).decode() if ready else LATE
    finally:
        os.close(receive)
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _play(items: Sequence[pytest.Item], bug: Bug | None, seconds: float) -> str:
    """In the fork: run them up to the first that fails, or until they have taken so many seconds of
    processor time."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    default_server.cache_clear()  # those of before have the code of before
    simulations.cache_clear()
    begun = sum(os.times()[:4])
    if bug is not None:
        os.environ[BUG] = json.dumps(dataclasses.asdict(bug))
        os.environ["PYTHONPATH"] = os.pathsep.join((str(SITE), str(ROOT)))
        try:
            plant(bug)
        except LookupError:
            pass  # only processes that start have it
    for item in items:
        if sum(os.times()[:4]) - begun > seconds:
            return LATE
        reports: list[Any] = runtestprotocol(item, nextitem=None, log=False)
        if any(report.failed for report in reports):
            return item.nodeid
    return ""
