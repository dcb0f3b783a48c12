"""Whether a stored run is being played is seen from who holds it, never from what it lacks."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from lab.runs.store import BROKEN_OFF, RUNNING, RunFolder, new_run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))


@contextmanager
def another_process(run: str) -> Iterator[int]:
    """One that holds the run until it is killed."""
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            RunFolder(run).hold()
            os.write(told, b"!")
            signal.pause()
        finally:
            os._exit(1)
    os.close(told)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_a_run_whose_process_is_killed_is_broken_off() -> None:
    folder = new_run("long", "sim", 7)
    assert folder.word() == RUNNING, "it was just begun"
    folder.release()
    assert folder.word() == BROKEN_OFF
    with another_process(folder.run):
        assert folder.word() == RUNNING
    assert folder.word() == BROKEN_OFF


def test_a_run_is_played_as_long_as_one_holds_it() -> None:
    """The command that began it on a lab may go; the lab's supervisor plays it."""
    folder = new_run("long", "lab", 7)
    with another_process(folder.run):
        folder.release()
        assert folder.word() == RUNNING
        with folder.lock():
            assert folder.word() == RUNNING
    assert folder.word() == BROKEN_OFF


def test_who_looks_is_not_taken_for_who_plays() -> None:
    folder = new_run("long", "sim", 7)
    folder.release()
    with ThreadPoolExecutor(4) as pool:
        words = list(pool.map(lambda _: RunFolder(folder.run).word(), range(200)))
    assert words.count(BROKEN_OFF) > 195, "looks are short, and are taken again"


def test_a_run_of_a_version_without_the_lock_is_broken_off() -> None:
    folder = RunFolder("earlier-sim-1")
    assert folder.make() and folder.word() == BROKEN_OFF
