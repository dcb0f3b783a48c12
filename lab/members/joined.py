"""What a machine keeps of a lab that it has joined, in its own state folder::

agents/holder                         a random name of this machine's own
agents/<lab>-<machine>-<authority>/   as a lab's folder, with what stands here alone
  identity/                           of its own nodes, also of hosts that came later
  joined.json                         the bundle that it came with, and for whom
  ca.pem, offset                      the lab's authority; the offset of this clock
  run.json                            the last run of an agent here that was taken
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

import msgspec

from lab.arrays.place import link
from lab.machines.bundle import AUTHORITY, Bundle, identity_files
from lab.machines.part import MachinePart
from lab.machines.trust import digest_of
from lab.schema.errors import KeysteadError
from lab.state.scratch import hold, no_room, state_home
from services.runtime.real.files import replace_file
from services.runtime.real.gate_addresses import write_gate_addresses

_HOLDER_BYTES: Final = 16
_HOLD_AGAIN_S: Final = 0.01
_HOLD_TRIES: Final = 20
_MACHINE_ID: Final = Path("/etc/machine-id")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Joined(msgspec.Struct, frozen=True):
    bundle: str
    holder: str


class _LastRun(msgspec.Struct, frozen=True):
    """``place``: the boot of the machine, and which folder it was; a copy is another one."""

    run: str
    place: str


class JoinedFolder:
    """The folder of one machine of one lab, and its lock, held until ``close``."""

    def __init__(self, bundle: Bundle, home: Path | None = None) -> None:
        """``home`` in place of this user's state folder. KS-AGENT-005 when an agent runs in it,
        KS-AGENT-009 when it is another machine's, KS-LAB-005 when nothing can be written."""
        self._bundle, manifest = bundle, bundle.manifest
        self.lab, self.machine = manifest.lab, manifest.machine
        agents = (home or state_home()) / "agents"
        self.path = agents / f"{manifest.lab}-{manifest.machine}-{digest_of(bundle.authority)}"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock, tries = hold(self.path), _HOLD_TRIES
            while lock is None and (tries := tries - 1):  # a look at its health lasts for a moment
                time.sleep(_HOLD_AGAIN_S)
                lock = hold(self.path)
            if lock is None:
                text = f"an agent of machine {manifest.machine} runs here already ({self.path})"
                raise KeysteadError("KS-AGENT-005", text)
            self._lock = lock
            self.holder = _holder(agents)
            self._fill(bundle)
        except OSError as error:
            raise no_room(error) from None

    def _fill(self, bundle: Bundle) -> None:
        note, manifest = self.path / "joined.json", bundle.manifest
        if note.exists():
            try:
                before = msgspec.json.decode(note.read_bytes(), type=_Joined)
            except msgspec.DecodeError:
                before = _Joined("", self.holder)
            if before.holder != self.holder:
                text = f"{self.path} was brought here from another machine"
                raise KeysteadError("KS-AGENT-009", text)
        for folder in ("node", "control", "public"):
            (self.path / "identity" / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in identity_files(manifest):
            replace_file(self.path / name, bundle.files[name], mode=0o600, durable=False)
        self.authority.write_bytes(bundle.files[AUTHORITY])
        kept = msgspec.json.encode(_Joined(manifest.id, self.holder))
        replace_file(note, kept, durable=True)

    @property
    def authority(self) -> Path:
        """The lab's certificate authority (PEM)."""
        return self.path / AUTHORITY

    def share(self, arrays: Path | None) -> dict[str, Path]:
        """Where the folder of each shared datastore is: ``arrays``, or what the Lab file says, or
        for want of both this folder. KS-USE-003 for ``arrays`` that nothing lies in, KS-LAB-005
        when nothing can be written here."""
        shared = self._bundle.manifest.shared
        if arrays is not None and not shared:
            text = f"--arrays {arrays}: no datastore of this machine lies in a shared folder"
            raise KeysteadError("KS-USE-003", text)
        own = self.path / "arrays"
        found = {one.name: arrays or Path(one.folder or own) for one in shared}
        link(own, {name: at for name, at in found.items() if at != own})
        return found

    def know(self, public: dict[str, bytes], where: dict[str, str]) -> None:
        """Public identities of nodes, by their names, which were checked; and where those of other
        machines take connections."""
        lab, _, _ = self._bundle.manifest.address.rpartition(":")
        write_gate_addresses(
            self.path, {n: f"{lab}{at}" if at.startswith(":") else at for n, at in where.items()}
        )
        for node, data in public.items():
            path = self.path / "identity" / "public" / f"{node}.json"
            if not path.exists() or path.read_bytes() != data:
                replace_file(path, data, mode=0o644, durable=False)

    def keep(self, part: MachinePart) -> None:
        """Have what is private of a host that came later, durably; raises ``OSError``."""
        for name, data in part.files.items():
            path = self.path / name
            if not path.exists() or path.read_bytes() != data:
                replace_file(path, data, mode=0o600, durable=True)

    def last_run(self) -> str:
        """The run that was kept last in this boot and in this very folder; else empty."""
        try:
            kept = msgspec.json.decode((self.path / "run.json").read_bytes(), type=_LastRun)
        except (OSError, msgspec.DecodeError):
            return ""
        return kept.run if kept.place == self._place() else ""

    def keep_run(self, run: str) -> None:
        """That run is taken, durably; raises ``OSError``."""
        if self.last_run() != run:
            kept = msgspec.json.encode(_LastRun(run, self._place()))
            replace_file(self.path / "run.json", kept, mode=0o600, durable=True)

    def _place(self) -> str:
        there = self.path.stat()
        return f"{_BOOT_ID.read_text().strip()} {there.st_dev} {there.st_ino}"

    def remove(self) -> None:
        """The lab is no more, nor is what it has here."""
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let another agent have it."""
        os.close(self._lock)


def _holder(agents: Path) -> str:
    """A name of this machine: drawn once, and bound to what the system calls it."""
    path = agents / "holder"
    if not path.exists():
        lock = None
        while (lock := hold(agents)) is None:  # two first agents at once would draw two names
            time.sleep(_HOLD_AGAIN_S)
        try:
            if not path.exists():
                drawn = os.urandom(_HOLDER_BYTES).hex().encode()
                replace_file(path, drawn, mode=0o600, durable=True)
        finally:
            os.close(lock)
    system = _MACHINE_ID.read_bytes() if _MACHINE_ID.is_file() else b""
    return hashlib.sha256(path.read_bytes() + system).hexdigest()[: 2 * _HOLDER_BYTES]
