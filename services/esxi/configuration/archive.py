"""The configuration archive of a host: the one writer of its file (``image``).

A save appends what was added since the last one, and syncs it: two calls, whatever the size of the
store. The file is rewritten when something must leave the disk or be protected in another way, when
additions outweigh the rest, and at each save of everything: a new file is written, synced and
renamed over the old one, and the folder is synced. A crash at any moment leaves the old or the new
file, complete. A file found at boot may have been written without a sync by the life before. It
counts as durable once this life has synced it.

One write is in progress at a time. Saves that arrive meanwhile wait, and the next write covers all
of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final, Self

import msgspec

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import SaveFailed
from protocol.secret import KeyMaterial
from protocol.terms import ProtectionMode
from protocol.tpm.errors import TpmError
from services.esxi.configuration.image import (
    ConfigurationProtection,
    OpenedConfiguration,
    pack,
    pack_addition,
    tag_of,
)
from services.esxi.configuration.rollback import INDEX, raise_to
from services.esxi.configuration.sections import (
    Addition,
    Configuration,
    ConfigurationSection,
    find_addition,
    merge_sections,
)
from services.esxi.configuration.stored_keys import StoredKeys
from services.runtime.durable import drop_unfinished, replace_durably
from services.runtime.nv_counter import next_count
from services.runtime.ports import Disk, Rng, Tpm

FOLDER: Final = "bootbank"
FILE: Final = f"{FOLDER}/state.tgz"
ROOM: Final = 64 * 1024
"""Additions may be as large as the first piece of the file, and this many bytes in any case."""


@dataclass(frozen=True)
class _FileState:
    """The file as it is on disk: sizes of its first piece and of all in bytes, its last tag."""

    first_size: int
    size: int
    last_tag: bytes

    @property
    def outweighed(self) -> bool:
        return self.size - self.first_size > max(ROOM, self.first_size)

    def grown(self, piece: bytes) -> _FileState:
        return _FileState(self.first_size, self.size + len(piece), tag_of(piece))


class Archive:
    """The configuration in force (``now``), its protection, and its state on disk.

    ``counter`` is the TPM that counts the archives of mode TPM; None: they are not counted.
    """

    def __init__(
        self,
        disk: Disk,
        rng: Rng,
        protection: ConfigurationProtection,
        config_key: KeyMaterial,
        now: Configuration,
        *,
        counter: Tpm | None = None,
    ) -> None:
        """An archive that has no file yet."""
        self.now = now
        self.protection, self.config_key = protection, config_key
        self.writes = 0
        self._disk, self._rng, self._counter = disk, rng, counter
        self._saved: Configuration | None = None
        self._saved_protection = protection
        self._file: _FileState | None = None  # None: the next write makes a new file
        self._settled = False  # whether this life has synced the file of ``_saved``
        self._lock = asyncio.Lock()
        self._wanted = ConfigurationSection.NOTHING
        self._saves = 0
        # The number of the last save that a write covered, and that failed.
        self._covered = self._refused = 0
        self._refusal = ""

    @classmethod
    def reopen(
        cls,
        disk: Disk,
        rng: Rng,
        protection: ConfigurationProtection,
        config_key: KeyMaterial,
        found: OpenedConfiguration,
        *,
        counter: Tpm | None = None,
    ) -> Self:
        """The archive whose file was ``found`` at boot; ``protection`` is what its header says."""
        archive = cls(disk, rng, protection, config_key, found.configuration, counter=counter)
        archive._saved = found.configuration
        if not found.torn and not found.of_old:
            archive._file = _FileState(found.first_size, found.size, found.last_tag)
        return archive

    @property
    def stored(self) -> StoredKeys:
        """The persisted store as it is on the disk."""
        return StoredKeys() if self._saved is None else self._saved.store

    def change(self, **fields: Any) -> None:
        """Change fields of the configuration in memory; ``save`` makes it durable."""
        self.now = msgspec.structs.replace(self.now, **fields)

    def protect(self, protection: ConfigurationProtection, config_key: KeyMaterial) -> None:
        """Change the protection from the next write on."""
        self.protection, self.config_key = protection, config_key

    @property
    def dirty(self) -> bool:
        """Whether the present configuration differs from the one on disk."""
        return (
            self._saved is None
            or self._file is None
            or self.protection is not self._saved_protection
            or merge_sections(self._saved, self.now, ConfigurationSection.ALL) is not self._saved
        )

    async def save(self, sections: ConfigurationSection = ConfigurationSection.ALL) -> None:
        """Return when these sections, in their present or a newer state, are durable.

        If the disk fails, or the TPM that counts archives, all callers of the write get
        ``SaveFailed``. The file on disk is then complete, old or new, and the next save tries
        again.
        """
        self._saves += 1
        mine = self._saves
        self._wanted |= sections
        async with self._lock:
            if self._covered >= mine:
                return
            if self._refused >= mine:
                raise SaveFailed(self._refusal)
            covers, wanted, self._wanted = self._saves, self._wanted, ConfigurationSection.NOTHING
            try:
                await self._write(wanted)
            except (OSError, TpmError) as error:
                self._wanted |= wanted
                reason = getattr(error, "strerror", None) or error
                self._refused = covers
                self._refusal = f"the configuration could not be saved: {reason}"
                raise SaveFailed(self._refusal) from None
            except BaseException:
                self._wanted |= wanted
                raise
            self._covered = covers

    async def _write(self, sections: ConfigurationSection) -> None:
        protection, config_key, file = self.protection, self.config_key, self._file
        image = self.now if self._saved is None else merge_sections(self._saved, self.now, sections)
        anew = (
            file is None
            or file.outweighed
            or protection is not self._saved_protection
            or (sections == ConfigurationSection.ALL and file.size > file.first_size)
        )
        if image is self._saved and not anew:
            try:
                await self._sync_once()
            except OSError:
                self._file = None  # the next sync does not repair a failed one
                raise
            return
        counter = self._counter if protection.mode is ProtectionMode.TPM else None
        count = protection.count if counter is None else await next_count(counter, INDEX)
        self._file = None  # until this write has finished, the content of the file is unknown
        more = None if anew or self._saved is None else find_addition(self._saved, image, count)
        if file is None or more is None:
            header = msgspec.structs.replace(protection, count=count)
            self._file = await self._replace_file(header, config_key, image)
        else:
            self._file = await self._append_addition(file, config_key, more)
        if counter is not None:
            try:
                await raise_to(counter, count)
            except TpmError:
                self._file = None
                raise
        self._saved, self._saved_protection = image, protection
        self.writes += 1

    async def _append_addition(
        self, file: _FileState, config_key: KeyMaterial, more: Addition
    ) -> _FileState:
        """Append what was added since the last write."""
        nonce = self._rng.token(NONCE_SIZE)
        piece = pack_addition(file.last_tag, config_key, more, nonce)
        await self._disk.append(FILE, piece)
        if self._settled:
            await self._disk.sync(FILE)
        else:
            await self._sync_once()
        return file.grown(piece)

    async def _replace_file(
        self, header: ConfigurationProtection, config_key: KeyMaterial, image: Configuration
    ) -> _FileState:
        """Replace the whole file."""
        data = pack(header, config_key, image, self._rng.token(NONCE_SIZE))
        await replace_durably(self._disk, FILE, data, folder_is_new=not self._settled)
        self._settled = True
        return _FileState(len(data), len(data), tag_of(data))

    async def _sync_once(self) -> None:
        """Once in a life: sync a file that an earlier life may have left unsynced, and delete its
        unfinished file, which may hold keys that were removed here."""
        if not self._settled:
            await drop_unfinished(self._disk, FILE)
            await self._disk.sync(FILE)
            await self._disk.sync_folder(FOLDER)
            await self._disk.sync_folder()
            self._settled = True
