"""Folders of labs and runs, and what a lab keeps about itself between starts.

``$KEYSTEAD_STATE_HOME``, else ``$XDG_STATE_HOME/keystead``, else ``~/.local/state/keystead``::

    labs/<name>/lab.json     what the lab is: version of this layout, Lab file, seed, time
    labs/<name>/lock         held while a supervisor runs or a lab is being removed
    labs/<name>/supervisor   pid of the supervisor, and whether it serves; removed at an orderly end
    labs/<name>/ended        why the last supervisor ended, when nobody had asked it to
    labs/<name>/faults       faults in force, sealed, for the next supervisor (``notebook``)
    scratch/                 folders that are being removed, and those of one run (``scratch``)
    failed/<name>/           logs of the last start of a new lab that failed
    runs/<run>/              experiment, plan, history.msgpack, result.json
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec

from lab.schema.errors import KeysteadError
from lab.state.scratch import LOCK, hold, move_away, no_room, state_home
from protocol import names
from protocol.messages.agent import BootBanks
from protocol.terms import NodeName
from services.runtime.real.files import replace_file

LAYOUT = 2
LOG_LIMIT_BYTES = 1 << 20
_PURGED = "purged"
_SUPERVISOR = b"lab.supervise.supervisor"
_LOCK_TRIES, _LOCK_PAUSE_S = 10, 0.03


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What ``machine`` got when it asked ``pool``; ``built``: its host was added, with its VMs."""

    machine: str
    pool: str
    node: NodeName
    built: bool = False


class Invitations(msgspec.Struct, frozen=True, kw_only=True):
    """Where bundles are put for machines that share the folder (``lab.members.inviting``);
    ``address`` is that of the lab's TLS proxy as they reach it."""

    folder: str
    address: str


class LabRecord(msgspec.Struct, frozen=True, kw_only=True):
    """``lab.json``. ``elapsed_s``: lab seconds it has lived; ``wall``: Unix time of its beginning.

    ``file`` is the Lab file with all overrides applied; ``hosts_added`` are later ones.
    ``installed``: the images of hosts that were upgraded. ``listen``: where other machines join.
    ``places``: what machines got that asked for a place, in this order.
    """

    layout: int = LAYOUT
    name: str
    file: dict[str, Any]
    seed: int
    wall: float
    elapsed_s: float = msgspec.field(name="elapsed", default=0.0)
    ready: bool = False
    hosts_added: tuple[dict[str, Any], ...] = ()
    installed: dict[NodeName, BootBanks] | msgspec.UnsetType = msgspec.UNSET
    listen: str | msgspec.UnsetType = msgspec.UNSET
    invite: Invitations | msgspec.UnsetType = msgspec.UNSET
    places: tuple[Place, ...] | msgspec.UnsetType = msgspec.UNSET
    digest: str = ""  # of all the rest: a file that was damaged says so itself


def lab_name(text: str) -> str:
    """``text`` as a lab's name; KS-USE-003 otherwise."""
    if wrong := names.LAB.fault(text):
        raise KeysteadError("KS-USE-003", wrong)
    return text


class LabFolder:
    """One lab's folder."""

    def __init__(self, name: str) -> None:
        self.name = lab_name(name)
        self.path = state_home() / "labs" / self.name

    @property
    def log(self) -> Path:
        """What the supervisor says; at most about 2 x 1 MiB are kept."""
        return self.path / "logs" / "supervisor.log"

    def make(self) -> None:
        """Create it, for its owner only; KS-LAB-005 when that is refused."""
        try:
            self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise no_room(error) from None

    def record(self) -> LabRecord | None:
        """What ``lab.json`` says, None when there is no lab; KS-LAB-004 for another layout,
        KS-LAB-008 when it is not as it was written."""
        try:
            data = (self.path / "lab.json").read_bytes()
        except FileNotFoundError:
            if (self.path / "nodes").exists():
                raise damage_error(self, "lab.json") from None
            return None
        except IsADirectoryError:
            raise damage_error(self, "lab.json") from None
        except OSError as error:
            raise no_room(error) from None
        try:
            layout = msgspec.json.decode(data).get("layout")
            record = msgspec.json.decode(data, type=LabRecord) if layout == LAYOUT else None
        except (msgspec.DecodeError, AttributeError):
            raise damage_error(self, "lab.json") from None
        if record is None:
            raise KeysteadError(
                "KS-LAB-004",
                f"the lab {self.name} in {self.path} has layout {layout}, this version reads "
                f"{LAYOUT}",
                f"keystead down --purge --name {self.name}, then keystead up",
            )
        if record.digest != _digest(record):
            raise damage_error(self, "lab.json")
        return record

    def save(self, record: LabRecord) -> None:
        record = msgspec.structs.replace(record, digest=_digest(record))
        self.write("lab.json", msgspec.json.format(msgspec.json.encode(record)))

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all."""
        path = self.path / name
        try:
            replace_file(path, data, durable=False)
        except OSError as error:
            raise no_room(error) from None

    def read(self, name: str) -> bytes:
        """Its bytes; empty when there is no such file."""
        try:
            return (self.path / name).read_bytes()
        except (FileNotFoundError, IsADirectoryError):
            return b""
        except OSError as error:
            raise no_room(error) from None

    @contextmanager
    def lock(self, inherited: int = -1) -> Iterator[int]:
        """Held by who runs or removes the lab; KS-LAB-002 when another process does.

        Gives the descriptor: a child that inherits it (``inherited``) holds the same lock, so
        that ``up`` hands it to the supervisor without a moment in between.
        """
        fd = inherited if inherited >= 0 else self._acquire()
        os.set_inheritable(fd, False)
        try:
            yield fd
        finally:
            os.close(fd)

    def _acquire(self) -> int:
        """A few tries: a look by ``locked`` or a purge lasts for a moment only."""
        for _ in range(_LOCK_TRIES):
            self.make()
            try:
                fd = hold(self.path)
            except OSError as error:
                raise no_room(error) from None
            if fd is not None:
                return fd
            time.sleep(_LOCK_PAUSE_S)
        raise KeysteadError("KS-LAB-002", f"another keystead process works on the lab {self.name}")

    def locked(self) -> bool:
        """Whether a process holds the lock now; makes nothing."""
        try:
            with (self.path / LOCK).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, IsADirectoryError):
            return False
        except OSError:
            return True
        return False

    def holds(self, lock: int) -> bool:
        """Whether the folder is still there and ``lock`` is its lock: it may be removed or put
        elsewhere while a lab runs in it."""
        try:
            return (self.path / LOCK).stat().st_ino == os.fstat(lock).st_ino
        except OSError:
            return False

    def supervisor(self) -> int:
        """Pid of the lab's supervisor, 0 when there is none. A pid that was reused is none; one
        that is not written down is looked for."""
        pid = self._read_supervisor()[0]
        if pid and self._is_supervisor(pid):
            return pid
        if not self.locked():
            return 0
        pids = (int(name) for name in os.listdir("/proc") if name.isdecimal())
        return next((pid for pid in pids if self._is_supervisor(pid)), 0)

    def _is_supervisor(self, pid: int) -> bool:
        """Whether that process is the supervisor of this lab in this state folder, by its command
        line: its environment is not for others to read (decision 88)."""
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        if _SUPERVISOR not in words:
            return False
        # The lab's name follows, then two descriptors, which may look like a name, and the folder.
        name, *rest = words[words.index(_SUPERVISOR) + 1 :]
        return name == self.name.encode() and rest[2:3] == [os.fsencode(state_home())]

    def suspended(self) -> bool:
        """Whether the supervisor was stopped by a signal: it will not answer."""
        try:
            stat = Path(f"/proc/{self.supervisor()}/stat").read_text()
        except OSError:
            return False
        return stat.rpartition(")")[2].split()[0] in ("T", "t")

    def serving(self) -> bool:
        """Whether the supervisor has said that it takes commands."""
        return self._read_supervisor()[1]

    def _read_supervisor(self) -> tuple[int, bool]:
        pid, _, rest = self.read("supervisor").decode(errors="replace").strip().partition(" ")
        return (int(pid), rest == "serving") if pid.isdecimal() and len(pid) < 10 else (0, False)

    def note_supervisor(self, *, serving: bool) -> None:
        """This process is the lab's supervisor, and takes commands or does not."""
        self.write("supervisor", f"{os.getpid()}{' serving' if serving else ''}".encode())

    def forget_supervisor(self) -> None:
        """It ended in order, or its end is known; no change where nothing can be written."""
        with suppress(OSError):
            (self.path / "supervisor").unlink(missing_ok=True)

    def note_end(self, why: str) -> None:
        """Why the supervisor ended without being asked; empty: that does not matter any more.

        No change where nothing can be written.
        """
        with suppress(OSError, KeysteadError):
            if why:
                self.write("ended", why.encode())
            else:
                (self.path / "ended").unlink(missing_ok=True)

    def end(self) -> str:
        """Why the last supervisor ended, if it could say so."""
        return self.read("ended").decode(errors="replace")

    def note_purge(self, wanted: bool) -> None:
        """Whether it is to be removed once it has stopped: who is elsewhere hears of it then."""
        with suppress(OSError):  # then nobody elsewhere hears of it
            if wanted:
                (self.path / _PURGED).touch()
            else:
                (self.path / _PURGED).unlink(missing_ok=True)

    def purge(self) -> None:
        """Take it from its place in one step, then remove it; KS-LAB-005 when it has to stay.

        A kill in between leaves what ``scratch.collect`` removes.
        """
        if self.path.exists():
            shutil.rmtree(move_away(self.path), ignore_errors=True)


def is_purged(folder: Path) -> bool:
    """Whether the lab in ``folder`` is to be removed once it has stopped."""
    return (folder / _PURGED).exists()


def damage_error(folder: LabFolder, name: str) -> KeysteadError:
    """What a person reads when a file of a lab is missing, or not as it was written."""
    return KeysteadError(
        "KS-LAB-008",
        f"{folder.path / name} is missing or damaged",
        f"put it back from a copy, or `keystead down --purge --name {folder.name}` and then "
        "`keystead up`",
    )


def _digest(record: LabRecord) -> str:
    whole = msgspec.json.encode(msgspec.structs.replace(record, digest=""))
    return hashlib.sha256(whole).hexdigest()[:16]


def put_aside(log: Path) -> bool:
    """Whether the supervisor's log was long and is now ``<log>.1``. Raises ``OSError``."""
    if not log.exists() or log.stat().st_size <= LOG_LIMIT_BYTES:
        return False
    log.replace(log.with_suffix(".log.1"))
    return True


def all_labs() -> list[LabFolder]:
    """Every lab that has a folder, by name."""
    root = state_home() / "labs"
    found = sorted(p.name for p in root.iterdir() if p.is_dir()) if root.is_dir() else []
    return [LabFolder(name) for name in found if not names.LAB.fault(name)]


def runs_folder() -> Path:
    return state_home() / "runs"
