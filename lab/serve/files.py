"""Files that a command names: read and written where the command is given, not by the lab.

The process that holds a lab never opens a path of a command: a pipe, or a mount that does not
answer, would stop it. Whoever gives a command reads what it names before it is sent, and makes the
file that it will write; contents travel beside the command, each sealed to a key of the receiver
(``protocol.crypto.transfer``), since passwords and backups are among them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from lab.schema.commands import Command, name_of
from lab.schema.errors import KeysteadError
from lab.state.in_thread import in_thread
from lab.topology.secret_files import READ_LIMIT_S, first_line, read_file, unusable
from protocol.crypto.transfer import OneTimeKey, seal_secret
from protocol.secret import KeyMaterial
from services.runtime.real.files import sync_folder

_ROOM: Final = 16 * 1024  # bytes that are kept free for a file that is written
_GRACE_S: Final = 1.0


class CommandFiles:
    """What a lab has of the files of one command: ``contents`` came with it, by path."""

    def __init__(self, contents: Mapping[str, KeyMaterial] | None = None) -> None:
        self._contents = dict(contents or {})
        self.written: dict[str, KeyMaterial] = {}

    def content(self, path: str) -> KeyMaterial:
        """KS-USE-003 when it did not come with the command."""
        found = self._contents.get(path)
        if found is None:
            raise KeysteadError("KS-USE-003", f"{path}: its content did not come with the command")
        return found

    def secret(self, path: str) -> str:
        """The first line; KS-USE-003 when it did not come, is no text, or is empty."""
        return first_line(path, self.content(path).reveal())

    def write(self, path: str, data: KeyMaterial) -> None:
        """The client writes this file and syncs it when it has the lab's answer."""
        self.written[path] = data


class Carried:
    """The files of one command at the side that gives it."""

    def __init__(self, command: Command[Any]) -> None:
        self._name = name_of(command)
        self._reads = tuple(path for path in command.files_read() if path)
        self._writes = command.file_written()
        self._place, self._late = -1, False
        self.contents: dict[str, KeyMaterial] = {}

    def __bool__(self) -> bool:
        return bool(self._reads or self._writes)

    def _open(self) -> None:
        self.contents = {path: KeyMaterial(read_file(path)) for path in self._reads}
        if self._writes:
            try:
                self._place = os.open(self._writes, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                os.posix_fallocate(self._place, 0, _ROOM)
            except OSError as error:
                self._drop()
                raise unusable(self._writes, error) from None
        if self._late:  # nobody waits for it any more
            self._drop()

    def _drop(self) -> None:
        """Take back the file that was made."""
        if self._place >= 0:
            os.close(self._place)
            self._place = -1
            Path(self._writes).unlink(missing_ok=True)

    def _fill(self, written: Mapping[str, KeyMaterial]) -> None:
        if not self._writes:
            return
        if self._writes not in written:
            raise KeysteadError("KS-INT-001", f"{self._name}: the lab gave nothing to write")
        try:
            with os.fdopen(os.dup(self._place), "wb") as file:
                file.write(written[self._writes].reveal())
                file.truncate()
                file.flush()
                os.fsync(file.fileno())
            sync_folder(Path(self._writes).parent)
        except OSError as error:
            raise unusable(self._writes, error) from None
        os.close(self._place)
        self._place = -1

    async def fill(self, written: Mapping[str, KeyMaterial]) -> None:
        """Write what the lab has given, durably; KS-USE-003 when that is refused."""
        await self._within(lambda: self._fill(written))

    def seal(self, public: bytes) -> dict[str, bytes]:
        """The contents, for who has the key of ``public``."""
        return seal_contents(self._name, public, self.contents)

    def open_boxes(self, key: OneTimeKey, boxes: Mapping[str, bytes]) -> dict[str, KeyMaterial]:
        """What the lab has sealed to ``key``."""
        return open_contents(self._name, key, boxes)

    async def _within(self, work: Callable[[], None]) -> None:
        try:
            await in_thread(work, READ_LIMIT_S + _GRACE_S)
        except TimeoutError:
            self._late = True
            paths = ", ".join((*self._reads, *filter(None, (self._writes,))))
            text = f"{paths}: it has not answered for {READ_LIMIT_S + _GRACE_S:g} s"
            raise KeysteadError("KS-USE-003", text) from None


@asynccontextmanager
async def carry_files(command: Command[Any]) -> AsyncIterator[Carried]:
    """The files that ``command`` names, read, and the one that it writes, made with room for it.

    KS-USE-003 for one that cannot be read or made. Unless it was filled, what was made is removed.
    """
    files = Carried(command)
    if not files:
        yield files
        return
    await files._within(files._open)
    try:
        yield files
    finally:
        files._drop()


def seal_contents(
    name: str, public: bytes, contents: Mapping[str, KeyMaterial]
) -> dict[str, bytes]:
    """Contents of files by path, beside the command ``name``, each for who has that key."""
    return {
        path: seal_secret(public, data, _purpose(name, path)) for path, data in contents.items()
    }


def open_contents(name: str, key: OneTimeKey, boxes: Mapping[str, bytes]) -> dict[str, KeyMaterial]:
    """``CryptographicFailure`` for a box of another command, path or key."""
    return {path: key.open_box(box, _purpose(name, path)) for path, box in boxes.items()}


def _purpose(name: str, path: str) -> str:
    return f"file {path} of {name}"
