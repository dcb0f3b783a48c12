"""``keystead healthcheck``: whether what shall run on this machine does, by asking it.

Engines of containers do it every few seconds in each of many, so it imports next to nothing: it
looks which labs and agents hold the lock of their folder, and asks each at its socket
(``lab.machines.health``). It believes only the user whose folder that is, and root.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import stat
import sys
from typing import Final, NamedTuple

from lab.state.peer import peer_of
from lab.state.scratch import LOCK, state_home

LIMIT_S: Final = 3.0  # real seconds for one answer
AGENT: Final = "agent"
SUPERVISOR: Final = "supervisor"
LONGEST_ADDRESS: Final = 100  # bytes; the kernel takes 107
_LONGEST: Final = 1 << 16


class HealthReport(NamedTuple):
    """``lab.machines.health.MachineHealth`` as it was heard."""

    well: bool
    text: str
    processes: tuple[str, ...] = ()


def address_file(folder: str, name: str) -> str:
    """Where the one that answers for ``folder`` under ``name`` keeps its address: the name of a
    socket in the kernel's abstract space, drawn anew at each start."""
    return os.path.join(folder, f"{name}.health")


def ask_health(folder: str, name: str) -> HealthReport:
    """What is said there; not well when nobody answers, or somebody else than the owner of the
    address file: every user may take a name of the abstract space that is free."""
    try:
        address, owner = _address(address_file(folder, name))
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(LIMIT_S)
            line.connect(b"\0" + address)
            if not (peer := peer_of(line)).is_of(owner):
                text = f"user {peer.user} answers in the place of {name}"
                return HealthReport(well=False, text=text)
            data = b""
            while part := line.recv(_LONGEST):
                data += part
        told = json.loads(data)
        return HealthReport(told["well"], told["text"], tuple(told["processes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return HealthReport(well=False, text=f"{name} does not answer")


def _address(path: str) -> tuple[bytes, int]:
    """The address in that file, and the user whose file it is; ``OSError`` or ``ValueError``."""
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as file:
        status = os.fstat(file.fileno())
        address = file.read(LONGEST_ADDRESS + 1)
    if not stat.S_ISREG(status.st_mode) or not 0 < len(address) <= LONGEST_ADDRESS:
        raise ValueError("it is no address")
    return address, status.st_uid


def look(machine: str) -> list[HealthReport]:
    """How everything is that shall run here: labs of this user, and agents, those of ``machine``
    alone where it has a folder of its own. Nothing at all is not well."""
    home = str(state_home())
    own = os.path.join(home, "machines", machine)
    alone = os.path.isdir(own)
    agents = _list_locked_folders(os.path.join(own if alone else home, "agents"))
    found = [_agent(folder) for folder in agents if _is_there(folder, "joined.json")]
    if not alone:
        found += [
            ask_health(folder, SUPERVISOR)
            for folder in _list_locked_folders(os.path.join(home, "labs"))
        ]
    return found or [HealthReport(well=False, text=f"nothing of a lab runs here, as {home} tells")]


def main(machine: str = "") -> int:
    """The command in plain text, for this host or ``machine``; its exit code."""
    found = look(machine or own_name())
    for told in found:
        sys.stdout.write(f"{'well' if told.well else 'not well'}: {told.text}\n")
    return 0 if all(told.well for told in found) else 1


def own_name() -> str:
    """What this host calls itself."""
    return socket.gethostname().partition(".")[0].lower()


def _agent(folder: str) -> HealthReport:
    """An agent and its processes: all have to be well."""
    agent = ask_health(folder, AGENT)
    parts = [agent, *(ask_health(folder, process) for process in agent.processes)]
    return HealthReport(all(part.well for part in parts), "; ".join(part.text for part in parts))


def _list_locked_folders(above: str) -> list[str]:
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
