"""``keystead healthcheck``: whether what shall run on this machine does, by asking it.

Engines of containers do it every few seconds in each of many, so it imports next to nothing: it
looks which labs and agents hold the lock of their folder, and asks each at its socket
(``lab.machines.health``).
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import sys
from typing import Final, NamedTuple

from lab.supervise.scratch import LOCK, state_home

LIMIT_S: Final = 3.0  # real seconds for one answer
AGENT: Final = "agent"
SUPERVISOR: Final = "supervisor"
_LONGEST: Final = 1 << 16


class Told(NamedTuple):
    """``lab.machines.health.Health`` as it was heard."""

    well: bool
    text: str
    processes: tuple[str, ...] = ()


def where(folder: str, name: str) -> str:
    """The address of who answers there for ``folder`` under ``name``. It is of no file: a socket in
    the folder would outlive who listens, and stop who copies it."""
    digest = hashlib.sha256(os.fsencode(os.path.realpath(folder))).hexdigest()
    return f"\0keystead/{digest[:32]}/{name}"


def asked(folder: str, name: str) -> Told:
    """What is said there; not well when nobody answers."""
    try:
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(LIMIT_S)
            line.connect(where(folder, name))
            data = b""
            while part := line.recv(_LONGEST):
                data += part
        told = json.loads(data)
        return Told(told["well"], told["text"], tuple(told["processes"]))
    except (OSError, ValueError):
        return Told(well=False, text=f"{name} does not answer")


def look(machine: str) -> list[Told]:
    """How everything is that shall run here: labs of this user, and agents, those of ``machine``
    alone where it has a folder of its own. Nothing at all is not well."""
    home = str(state_home())
    own = os.path.join(home, "machines", machine)
    alone = os.path.isdir(own)
    agents = _held(os.path.join(own if alone else home, "agents"))
    found = [_agent(folder) for folder in agents if _is_there(folder, "joined.json")]
    if not alone:
        found += [asked(folder, SUPERVISOR) for folder in _held(os.path.join(home, "labs"))]
    return found or [Told(well=False, text=f"nothing of a lab runs here, as {home} tells")]


def main(machine: str = "") -> int:
    """The command in plain text, for this host or ``machine``; its exit code."""
    found = look(machine or own_name())
    for told in found:
        sys.stdout.write(f"{'well' if told.well else 'not well'}: {told.text}\n")
    return 0 if all(told.well for told in found) else 1


def own_name() -> str:
    """What this host calls itself."""
    return socket.gethostname().partition(".")[0].lower()


def _agent(folder: str) -> Told:
    """An agent and its processes: all have to be well."""
    agent = asked(folder, AGENT)
    parts = [agent, *(asked(folder, process) for process in agent.processes)]
    return Told(all(part.well for part in parts), "; ".join(part.text for part in parts))


def _held(above: str) -> list[str]:
    """Folders in ``above`` whose lock a process holds."""
    try:
        names = sorted(os.listdir(above))
    except OSError:
        return []
    return [path for name in names if _is_locked(path := os.path.join(above, name))]


def _is_locked(folder: str) -> bool:
    try:
        with open(os.path.join(folder, LOCK), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _is_there(folder: str, name: str) -> bool:
    return os.path.exists(os.path.join(folder, name))
