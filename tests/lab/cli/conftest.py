"""The real command line in processes of its own, each test with a state folder of its own."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab.supervise.launching import ROOT
from services.runtime.forking.child import TRACEABLE
from tests.lab.cli import warm
from tests.reached.site.sitecustomize import REACHED
from tests.reached.site.tracing import LOG

GONE_WITHIN = 5.0
# In the environment of what a test starts, and of all that comes from it: of another run of the
# tests that has the same state folder, nothing is counted or ended.
MARK, OURS = "KEYSTEAD_STARTED_BY_TEST", secrets.token_hex(16)


@dataclass
class Ran:
    """A finished command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def items(self) -> list[dict[str, Any]]:
        return list(self.json["items"])


class Cli:
    """``cli("get", "vms")``: run a command; ``begin`` leaves it running."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.more = environment
        self.env = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith("KEYSTEAD_") or name in (REACHED, LOG)
            },
            "KEYSTEAD_STATE_HOME": str(home),
            TRACEABLE: "1",  # its processes are found by their environment
            **environment,
            MARK: OURS,
        }

    def begin(self, *arguments: str, folder: Path = ROOT) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "lab.cli.main", *arguments],
            cwd=folder,
            env={"PYTHONPATH": str(ROOT), **self.env} if folder != ROOT else self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, *arguments: str) -> Ran:
        if "PYTHONPATH" in self.more:  # of modules that Python loads at its start
            process = self.begin(*arguments)
            out, err = process.communicate(timeout=100)
            return Ran(process.returncode, out, err)
        code, out, err = warm.process().run(list(arguments), self.env)
        return Ran(code, out, err)

    def ok(self, *arguments: str) -> Ran:
        """Run it; it must end with 0."""
        ran = self(*arguments)
        assert ran.code == 0, ran
        return ran

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes()]

    def processes(self) -> list[psutil.Process]:
        """Every process of this state folder that this run of the tests has started."""
        marks = {f"KEYSTEAD_STATE_HOME={self.home}".encode(), f"{MARK}={OURS}".encode()}
        found = []
        for process in psutil.process_iter():
            try:
                environment = Path(f"/proc/{process.pid}/environ").read_bytes().split(b"\0")
                if marks <= set(environment) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (OSError, psutil.Error):
                continue
        return found

    def alone(self) -> bool:
        """Whether all processes of all labs here are gone within five seconds."""
        return until(lambda: not self.pids(), GONE_WITHIN)

    def labs(self) -> list[str]:
        folder = self.home / "labs"
        return sorted(p.name for p in folder.iterdir()) if folder.is_dir() else []

    def end(self) -> None:
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()


def until(condition: Callable[[], bool], limit: float) -> bool:
    """Whether it becomes true within ``limit`` real seconds."""
    end = time.monotonic() + limit
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder for calls inside this process."""
    home = tmp_path / "state"
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(home))
    for name in ("KEYSTEAD_NAME", "KEYSTEAD_OUTPUT"):
        monkeypatch.delenv(name, raising=False)
    return home
