"""Bugs of a host: how it seals its configuration and makes it durable."""

from __future__ import annotations

import dataclasses
import errno
from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import KeyKind, ProtectionMode
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.structures import PcrSelection, SealedBlob
from services.esxi import boot
from services.esxi.configuration import archive, sealing
from services.esxi.configuration.archive import FILE, FOLDER, Archive, read_protection
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost
from services.esxi.measured_boot import PCR_MODULES
from services.runtime.ports import Disk
from services.runtime.real.disk import LabDisk
from services.runtime.service import Halted
from services.runtime.sim.disk import SimDisk
from services.runtime.tpm.port import TpmPort
from tests.mutations.bugs.planting import plant, replaces


def archive_append_unsynced() -> None:
    """DUR-03 broken: what comes behind the archive is answered before it is synced."""

    class _Unsynced:
        """A disk on which the archive's file is never synced."""

        def __init__(self, disk: Disk) -> None:
            self._disk = disk

        def __getattr__(self, name: str) -> Any:
            return getattr(self._disk, name)

        async def sync(self, path: str) -> None:
            if path != FILE:
                await self._disk.sync(path)

    @replaces(Archive, "_append_addition")
    async def grown(original: Any, self: Any, *arguments: Any) -> Any:
        disk, self._disk = self._disk, _Unsynced(self._disk)
        try:
            return await original(self, *arguments)
        finally:
            self._disk = disk


def archive_file_unsynced() -> None:
    """DUR-03 broken: the names of a host's boot bank are synced, and what is in its files is
    not."""

    @replaces(SimDisk, "sync")
    async def sync(original: Any, self: Any, path: str) -> None:
        if not path.startswith(FOLDER):
            await original(self, path)


def archive_folder_unsynced() -> None:
    """DUR-03 broken: a file that took the place of another in the boot bank is not made durable."""

    @replaces(SimDisk, "sync_folder")
    async def sync_folder(original: Any, self: Any, folder: str = "") -> None:
        if folder != FOLDER:
            await original(self, folder)


def archive_in_place() -> None:
    """Old or new, broken: the archive is written over the old one, not beside it."""

    @replaces(archive, "replace_durably")
    async def replace_durably(
        original: Any, disk: Any, path: str, data: bytes, **options: Any
    ) -> None:
        await disk.write(path, data)
        await disk.sync(path)
        await disk.sync_folder(FOLDER)
        await disk.sync_folder()


def archive_keeps_a_copy() -> None:
    """KP-03 broken: the store is emptied, and the archive that had the keys stays beside it."""

    @replaces(archive, "replace_durably")
    async def replace_durably(
        original: Any, disk: Any, path: str, data: bytes, **options: Any
    ) -> None:
        folder, _, name = path.rpartition("/")
        if name in await disk.list(folder):
            await original(disk, f"{path}.old", await disk.read(path))
        await original(disk, path, data, **options)


def archive_refusal_unsaid() -> None:
    """Durable before acknowledged, broken: a save that a full device refused counts as made."""

    @replaces(Archive, "_write")
    async def write(original: Any, self: Any, sections: Any) -> None:
        try:
            await original(self, sections)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def archive_sync_believed() -> None:
    """Durable before acknowledged, broken: a sync that failed is tried again, and then believed."""

    @replaces(SimDisk, "sync")
    async def sync(original: Any, self: Any, path: str) -> None:
        try:
            await original(self, path)
        except OSError as error:
            if error.errno != errno.EIO or not path.startswith(FOLDER):
                raise
            await original(self, path)


def boot_settles_nothing() -> None:
    """Decision 32 broken: what a boot found counts as durable, and perhaps was only written."""

    @replaces(Archive, "_sync_once")
    async def settle(original: Any, self: Any) -> None:
        self._settled = True


def config_key_in_escrow() -> None:
    """CFG-02 broken: the config key can be had without the TPM that seals it."""

    _escrow: dict[str, KeyMaterial] = {}

    @replaces(boot, "first_boot")
    async def first_boot(original: Any, host: Any) -> None:
        await original(host)
        _escrow[str(host.node.name)] = host.archive.config_key

    @replaces(boot, "_unseal_config_key")
    async def unsealed(original: Any, host: Any, protection: Any) -> KeyMaterial:
        try:
            return await original(host, protection)  # type: ignore[no-any-return]
        except Halted:
            return _escrow[str(host.node.name)]


def counter_rises_first() -> None:
    """The host broken: the TPM's counter of archives rises before the archive is on disk."""

    @replaces(archive, "next_count")
    async def next_count(original: Any, tpm: Any, index: int) -> int:
        count: int = await original(tpm, index)
        await archive.raise_to(tpm, count)
        return count


def host_key_not_persisted() -> None:
    """KP-07 broken: the host key is left out of the persisted store."""

    @replaces(archive, "pack")
    def pack(
        original: Any, protection: Any, config_key: Any, configuration: Any, nonce: bytes
    ) -> bytes:
        store = configuration.store.without((configuration.host_key,))
        configuration = msgspec.structs.replace(configuration, store=store)
        return bytes(original(protection, config_key, configuration, nonce))

    @replaces(archive, "pack_addition")
    def pack_addition(
        original: Any, last_tag: bytes, config_key: Any, addition: Any, nonce: bytes
    ) -> bytes:
        kept = tuple(entry for entry in addition.keys if entry.kind is not KeyKind.HOST)
        addition = msgspec.structs.replace(addition, keys=kept)
        return bytes(original(last_tag, config_key, addition, nonce))


def kdk_in_memory_only() -> None:
    """NKP-10 broken: a host's archive has the list of its providers, and not their KDKs."""

    @replaces(archive, "pack")
    def pack(original: Any, header: Any, config_key: Any, image: Any, nonce: bytes) -> Any:
        return original(header, config_key, msgspec.structs.replace(image, kdks=()), nonce)


def keys_answered_early() -> None:
    """Durable before acknowledged, broken at the host: a change is answered while it is saved."""

    @replaces(EsxiHost, "save")
    async def save(original: Any, self: Any, sections: Any) -> None:
        self.node.end_turn()
        self.node.background("save", self.archive.save(sections))


def persistence_unsynced() -> None:
    """DUR-03 broken: the configuration archive is written and never synced."""

    def _forgetful(original: Any) -> Any:
        async def sync(self: Any, path: str = "") -> None:
            if not path.startswith(FOLDER):
                await original(self, path)

        return sync

    for _disk in (SimDisk, LabDisk):
        plant(_disk, "sync", _forgetful)
        plant(_disk, "sync_folder", _forgetful)


def save_covers_too_much() -> None:
    """The host broken: a save answers for changes that came while it was written, and are not in
    it."""

    @replaces(Archive, "save")
    async def save(
        original: Any, self: Archive, sections: ConfigurationSection = ConfigurationSection.ALL
    ) -> None:
        self._saves += 1
        mine = self._saves
        self._wanted |= sections
        async with self._lock:
            if self._covered >= mine:
                return
            wanted, self._wanted = self._wanted, ConfigurationSection.NOTHING
            await self._write(wanted)
            self._covered = self._saves


def sealed_for_every_tpm() -> None:
    """CFG-01 broken: what the TPM of one host has sealed, the TPM of every other one opens."""

    _shared: dict[bytes, KeyMaterial] = {}

    @replaces(sealing, "_seal")
    async def seal(original: Any, tpm: Any, config_key: Any, selection: Any) -> SealedBlob:
        made: SealedBlob = await original(tpm, config_key, selection)
        _shared[made.private] = config_key
        return made

    @replaces(boot, "unseal")
    async def unseal(original: Any, tpm: Any, protection: Any) -> Any:
        try:
            return await original(tpm, protection)
        except TpmError:
            return _shared[protection.sealed.private]


def sealed_to_the_image() -> None:
    """ATT-06 broken: the configuration is sealed to the booted image too."""

    @replaces(sealing, "sealing_selection")
    def sealing_selection(original: Any, *facts: Any, **how: Any) -> PcrSelection:
        return PcrSelection.of((*original(*facts, **how).pcrs, PCR_MODULES))


def seals_unmeasured() -> None:
    """CFG-01 broken: a boot that the TPM could not measure seals the configuration all the same."""

    plant(EsxiHost, "measured", lambda original: True)


def torn_piece_accepted() -> None:
    """Whole or not at all, broken: an archive cut within its last piece is taken for a whole
    one."""

    @replaces(boot, "unpack")
    def unpack(original: Any, data: bytes, config_key: Any) -> Any:
        opened = original(data, config_key)
        return dataclasses.replace(opened, torn=False, size=len(data))


def unfinished_archive_read() -> None:
    """Old or new, broken: a boot takes the archive that the last life had not finished."""

    @replaces(boot, "_read_archive")
    async def read_archive(original: Any, host: Any) -> Any:
        try:
            return await host.disk.read(f"{FILE}.new")
        except FileNotFoundError:
            return await original(host)


def unseal_ignores_pcrs() -> None:
    """POL-01 broken: a secret that was sealed comes back whatever the PCRs say."""

    _escrow: dict[bytes, bytes] = {}

    @replaces(TpmPort, "seal")
    async def seal(original: Any, self: Any, secret: bytes, policy: bytes) -> Any:
        blob = await original(self, secret, policy)
        _escrow[blob.private] = secret
        return blob

    @replaces(TpmPort, "unseal")
    async def unseal(original: Any, self: Any, blob: Any, selection: Any) -> bytes:
        try:
            return bytes(await original(self, blob, selection))
        except TpmError as error:
            if error.kind is not TpmErrorKind.POLICY:
                raise
            return _escrow[blob.private]


def unsealed_taken_for_sealed() -> None:
    """CFG-03 broken: a configuration that no TPM protects is asked of the TPM all the same."""

    @replaces(boot, "_find_config_key")
    async def config_key(original: Any, host: Any, image: bytes) -> Any:
        protection = read_protection(image)
        if protection.mode is ProtectionMode.NONE:
            await boot._unseal_config_key(host, protection)
        return await original(host, image)
