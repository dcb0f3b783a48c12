"""Folders of runs: everything a run was, so that another person can look at it or replay it.

``runs/<run>/``: ``run.json`` (how it was started), ``plan.json``, ``topology.msgpack``,
``experiment.yaml``, ``history.msgpack`` (hash-chained), ``bus.msgpack`` (what was said),
``result.json``, and ``lock``, which is held by whoever plays it.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from chaos.errors import ChaosError
from chaos.history import Record, verify
from chaos.verdict import Verdict, tpm_text
from lab.schema.errors import KeysteadError
from lab.schema.refusal import refusal
from lab.state.scratch import LOCK, no_room
from lab.state.state_folder import runs_folder
from protocol import names
from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName
from services.runtime.real.files import replace_file

T = TypeVar("T")
RESULT: Final = "result.json"
RUNNING: Final = "running"
"""In the place of a verdict: it is being played."""
BROKEN_OFF: Final = "broken off"
"""In the place of a verdict: the process that played it has ended without one."""
_LOOKS, _LOOK_AGAIN_S = 4, 0.005
LAST_S: Final = 253_402_300_800
"""Unix seconds of the end of the year 9999, after which there are no dates."""
ROOT = Path(__file__).resolve().parents[2]


class RunRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``run.json``. A replay is exact for one code, Python minor version and lock."""

    run: str
    experiment: str
    mode: str
    seed: int
    code: str
    python: str
    lock: str
    began: Annotated[float, msgspec.Meta(ge=0, lt=LAST_S)]  # Unix seconds
    tpm: str = ""
    tpm_hosts: dict[TpmBackend, tuple[NodeName, ...]] = {}  # where they differ
    replay_of: str = ""
    fork_of: str = ""  # a run that was the same up to ``fork_at``, in seconds of the run
    fork_at: float = 0.0
    bug: str = ""  # that was planted, for a negative control
    scan: bool = False  # for every key, in all that the run has left
    options: tuple[str, ...] = ()  # see ``Prepared``
    knobs: dict[str, Any] = {}  # of the matrix, where they are not at their defaults
    transport: str = "bus"  # of the matrix: that of its key servers

    @property
    def tpm_text(self) -> str:
        """What lay under its hosts; with their names where they differ."""
        return tpm_text((self.tpm,), self.tpm_hosts)


def code_version() -> str:
    """Digest of all Python and YAML sources of this tree: what a replay depends on."""
    digest, root = hashlib.sha256(), str(ROOT)
    for package in ("protocol", "services", "chaos", "lab"):
        for folder, folders, found in os.walk(os.path.join(root, package)):
            folders.sort()
            for name in sorted(found):
                if name.endswith((".py", ".yaml")):
                    path = os.path.join(folder, name)
                    digest.update(path.removeprefix(root).encode())
                    with open(path, "rb") as file:
                        digest.update(file.read())
    return digest.hexdigest()[:16]


def lock_version() -> str:
    lock = ROOT / "requirements.lock"
    return hashlib.sha256(lock.read_bytes()).hexdigest()[:16] if lock.exists() else ""


def python_version() -> str:
    return ".".join(platform.python_version_tuple()[:2])


def commit() -> str:
    """The commit of the checkout, for people; empty outside of one."""
    try:
        found = subprocess.run(
            ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
            capture_output=True,
            text=True,
            check=False,
            timeout=5,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()


class RunFolder:
    """One run's folder."""

    def __init__(self, run: str, root: Path | None = None) -> None:
        """KS-RUN-001 for a name that no run can have, such as a way out of the folder of runs."""
        if wrong := names.RUN.fault(run):
            raise KeysteadError("KS-RUN-001", wrong)
        self.run = run
        self.path = (root or runs_folder()) / run
        self._lock = -1

    def make(self) -> bool:
        """Create it; whether there was none. KS-LAB-005 when that is refused."""
        try:
            self.path.mkdir(parents=True, mode=0o700)
        except FileExistsError:
            return False
        except OSError as error:
            raise no_room(error) from None
        return True

    def hold(self) -> None:
        """Say that this process plays it, until ``release`` or the end of the process. The process
        that begins a run and the lab that plays it may both hold it. KS-LAB-005 when its folder
        cannot be written."""
        try:
            lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_SH)  # somebody who looks has it for a moment only
        except OSError as error:
            raise no_room(error) from None
        self.release()
        self._lock = lock

    def release(self) -> None:
        """Let go of what ``hold`` has taken; no change without it."""
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Held for the length of a block."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    @property
    def is_played(self) -> bool:
        """Whether a process holds it now."""
        for look in range(_LOOKS):
            if look:
                time.sleep(_LOOK_AGAIN_S)
            try:
                with (self.path / LOCK).open("rb") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue  # perhaps it is somebody who looks too
            except OSError:
                return False
            return False
        return True

    def word(self) -> str:
        """Its verdict in a word, ``RUNNING`` or ``BROKEN_OFF``; KS-RUN-004 as ``verdict``."""
        if self.verdict() is None and self.is_played:
            return RUNNING
        # It may have come to its end between the two looks.
        return BROKEN_OFF if (ended := self.verdict()) is None else ended.verdict

    def end(self, verdict: Verdict) -> None:
        """Store how it ended; KS-LAB-005 when there is no room for that."""
        self.write(RESULT, msgspec.json.format(msgspec.json.encode(verdict)))
        self.release()

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all: a kill or a full disk leaves no half of it."""
        try:
            replace_file(self.path / name, data, durable=False)
        except OSError as error:
            raise no_room(error) from None

    def read(self, name: str) -> bytes:
        """KS-RUN-001 when the run has no such file, or its name cannot be one of a folder."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            if name != "run.json" and (self.path / "run.json").is_file():
                text, look = f"the run {self.run} has no {name}", f"describe run {self.run}"
                raise KeysteadError("KS-RUN-001", text, f"`keystead {look}` tells of it") from None
            raise KeysteadError("KS-RUN-001", f"there is no run {self.run} with {name}") from None
        except (OSError, ValueError) as error:  # a name too long, or with a NUL
            why = error.strerror if isinstance(error, OSError) else error
            raise KeysteadError("KS-RUN-001", f"{name} of the run cannot be read: {why}") from None

    def read_decoded(self, name: str, decode: Callable[[bytes], T]) -> T:
        """What a file says. KS-RUN-001 when it is not there, KS-RUN-004 when it is damaged."""
        data = self.read(name)
        try:
            return decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, ChaosError) as error:
            raise KeysteadError("KS-RUN-004", f"{self.path / name}: {error}") from None

    def record(self) -> RunRecord:
        """How it was started; its name is that of its folder, which may have been renamed."""
        record = self.read_decoded("run.json", msgspec.json.Decoder(RunRecord).decode)
        return msgspec.structs.replace(record, run=self.run)

    def verdict(self) -> Verdict | None:
        """None while it runs or when it was broken off; KS-RUN-004 when its file is damaged."""
        if not (self.path / RESULT).is_file():
            return None
        return self.read_decoded(RESULT, msgspec.json.Decoder(Verdict).decode)

    @property
    def history(self) -> Path:
        return self.path / "history.msgpack"

    @property
    def bus(self) -> Path:
        return self.path / "bus.msgpack"

    def remove(self) -> None:
        self.release()
        shutil.rmtree(self.path, ignore_errors=True)


def new_run(experiment: str, mode: str, seed: int) -> RunFolder:
    """A new folder ``<experiment>-<mode>-<seed>[-n]``, which this process holds."""
    stem = f"{experiment}-{mode}-{seed}"
    for number in range(1, 10_000):
        folder = RunFolder(stem if number == 1 else f"{stem}-{number}")
        if folder.make():  # else it is there, or another process has just taken the name
            try:
                folder.hold()
            except KeysteadError:
                folder.remove()
                raise
            return folder
    raise KeysteadError("KS-LAB-005", f"there are too many runs named {stem}")


def all_runs() -> list[RunFolder]:
    """Every stored run, oldest first, and last those that cannot be read."""
    root = runs_folder()
    if not root.is_dir():
        return []
    found = [
        RunFolder(p.name)
        for p in root.iterdir()
        if not names.RUN.fault(p.name) and (p / "run.json").is_file()
    ]
    return sorted(found, key=lambda f: (_began(f), f.run))


def _began(folder: RunFolder) -> float:
    try:
        return folder.record().began
    except KeysteadError:
        return math.inf


def history_of(folder: RunFolder) -> tuple[Record, ...]:
    """Its records, each verified; KS-RUN-001 when there is none, KS-CHAOS-204 as ``check``."""
    folder.read("history.msgpack")
    try:
        return verify(folder.history)
    except ChaosError as error:
        raise refusal(error) from None
