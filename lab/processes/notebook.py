"""What a supervisor writes into the folder of its lab: the record, the faults, why it ended.

A disk may be full, or be read-only for a while. What is promised by an answer (a fault is on the
list before it begins, a host that was added stays) is refused then; what is only kept up to date
is tried again, and the lab goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from lab.brokers.identities import SUPERVISOR, Identities
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder, LabRecord, damage_error
from protocol.crypto.derive import derive_key
from protocol.crypto.wrap import NONCE_SIZE, unwrap, wrap
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial

_PURPOSE = b"keystead/faults"


class _Id(msgspec.Struct, frozen=True):
    id: str


class _Entry(msgspec.Struct, frozen=True):
    fault: _Id


class _Ids(msgspec.Struct, frozen=True):
    """Of a list of faults as the keeper dumps it, only who is on it."""

    faults: tuple[_Entry, ...]


class Notebook:
    """``elapsed_s`` gives the age of the lab in lab seconds; ``warn`` gets problems of the file."""

    def __init__(
        self,
        folder: LabFolder,
        record: LabRecord,
        elapsed_s: Callable[[], float],
        warn: Callable[[str], None],
    ) -> None:
        self.folder, self.record = folder, record
        self._elapsed_s, self._warn = elapsed_s, warn
        self._unsaved = b""  # the newest list of faults, when it could not be written
        self._listed: frozenset[str] = frozenset()  # who is on the list that was written last
        self._failing = False

    def note(self, **changes: Any) -> None:
        """Change the record; KS-LAB-005 when it cannot be written now, and is tried again."""
        self.record = msgspec.structs.replace(self.record, elapsed_s=self._elapsed_s(), **changes)
        self.folder.save(self.record)

    def checkpoint(self) -> None:
        """Note how long the lab has lived, and what could not be written before. Never raises."""
        try:
            self.note()
            if self._unsaved:
                self._write_faults(self._unsaved)
        except KeysteadError as error:
            if not self._failing:
                self._warn(f"the lab's notes cannot be written, and are tried again: {error}")
            self._failing = True
        else:
            if self._failing:
                self._warn("the lab's notes are written again")
            self._failing = False

    async def keep_faults(self, data: bytes) -> None:
        """Write the list of faults; what ``FaultKeeper`` calls ``save``.

        KS-LAB-005 when one is new on it and that cannot be written: it must not begin then.
        """
        try:
            self._write_faults(data)
        except KeysteadError as error:
            if not _ids(data) <= self._listed:
                raise
            self._unsaved = data
            self._warn(f"the list of faults cannot be written, and is tried again: {error}")

    def _write_faults(self, data: bytes) -> None:
        box = wrap(self._key(), KeyMaterial(data), _PURPOSE, os.urandom(NONCE_SIZE))
        self.folder.write("faults", box)
        self._unsaved, self._listed = b"", _ids(data)

    def faults(self) -> bytes:
        """The list of the last time; KS-LAB-008 when it is damaged, or not there."""
        try:
            data = unwrap(self._key(), self.folder.read("faults"), _PURPOSE).reveal()
        except CryptographicFailure:
            raise damage_error(self.folder, "faults") from None
        self._listed = _ids(data)
        return data

    def put_faults_aside(self) -> None:
        """Begin with an empty list; the damaged one is kept under another name."""
        with suppress(OSError):
            (self.folder.path / "faults").replace(self.folder.path / "faults.damaged")

    def _key(self) -> KeyMaterial:
        """The list has recovery keys of hosts in it: only who has the supervisor's identity reads
        it."""
        seed = Identities.load(self.folder.path).control(SUPERVISOR).seed
        return derive_key(KeyMaterial(seed.encode()), salt=b"", info=_PURPOSE)


def _ids(data: bytes) -> frozenset[str]:
    return frozenset(entry.fault.id for entry in msgspec.json.decode(data, type=_Ids).faults)
