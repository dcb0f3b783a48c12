"""The configuration archive of a host: the bytes of its encrypted file, the one writer of that
file, and a counter in the TPM that detects an older copy of it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Self, assert_never

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import CryptographicFailure, SaveFailed
from protocol.secret import KeyMaterial
from protocol.terms import ProtectionMode
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import PcrSelection, SealedBlob
from services.esxi.configuration.sections import (
    Addition,
    Configuration,
    ConfigurationSection,
    StoredKey,
    StoredKeys,
    apply_addition,
    find_addition,
    merge_sections,
    with_kinds,
)
from services.runtime.durable import drop_unfinished, next_count, read_counter, replace_durably
from services.runtime.ports import Disk, Rng, Tpm

CONFIG_KEY_SIZE: Final = 32
_FORMAT: Final = 2
_FORMAT_OF_OLD: Final = 1  # one piece, without its length
# A msgpack array of four; no length of the present format begins so.
_FIRST_BYTE_OF_OLD: Final = 0x94
_WORD: Final = 4  # bytes of a length, and of its CRC-32
_TAG_SIZE: Final = 16


class ConfigurationProtection(msgspec.Struct, frozen=True, kw_only=True):
    """How the config key is protected: sealed by the TPM, or derived from ``material`` beside it.

    ``pcrs`` are those of the sealing policy. ``recovery_wrapped`` is the config key under the
    recovery key ``recovery_id`` (mode TPM). ``count`` is the number of this archive by the TPM's
    counter (``rollback``); 0: not counted. ``ValueError`` for values that could open nothing: the
    header of an archive file is not authenticated yet.
    """

    mode: ProtectionMode
    require_secure_boot: bool = False
    require_exec_installed_only: bool = False
    pcrs: tuple[int, ...] = ()
    sealed: SealedBlob | None = None
    material: bytes = b""
    recovery_id: str = ""
    recovery_wrapped: bytes = b""
    count: int = 0

    def __post_init__(self) -> None:
        match self.mode:
            case ProtectionMode.TPM:
                if self.sealed is None:
                    raise ValueError("mode TPM, and nothing is sealed")
                PcrSelection(self.pcrs)
            case ProtectionMode.NONE:
                if len(self.material) != CONFIG_KEY_SIZE:
                    raise ValueError("mode NONE, and no material of a key")
            case _:
                assert_never(self.mode)


class _First(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Nothing follows the box, whose end binds the next piece."""

    format: int
    header: bytes
    nonce: bytes
    box: bytes


def _to_clear(value: Any) -> Any:
    if isinstance(value, KeyMaterial):
        return value.reveal()  # into the buffer that is encrypted next, and nowhere else
    if isinstance(value, StoredKeys):
        return tuple(value)
    raise TypeError(f"{type(value).__name__} has no place in the archive")


def _from_clear(kind: type, value: Any) -> Any:
    if kind is KeyMaterial and isinstance(value, bytes):
        return KeyMaterial(value)
    if kind is StoredKeys:
        return StoredKeys(msgspec.convert(value, tuple[StoredKey, ...], dec_hook=_from_clear))
    raise ValueError(f"{kind.__name__} has no place in the archive")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_clear)
_configuration = msgspec.msgpack.Decoder(Configuration, dec_hook=_from_clear)
_addition = msgspec.msgpack.Decoder(Addition, dec_hook=_from_clear)
_protection = msgspec.msgpack.Decoder(ConfigurationProtection)
_first = msgspec.msgpack.Decoder(_First)


@dataclass(frozen=True)
class OpenedConfiguration:
    """The content of a file. ``count`` is the number of its last piece by the TPM's counter.

    ``size`` is the size of all complete pieces in bytes, ``first_size`` that of the first piece.
    ``last_tag`` binds the next piece. ``torn``: the file ends inside a piece. ``of_old``: the file
    has the earlier format with one piece only.
    """

    configuration: Configuration
    count: int
    size: int
    first_size: int
    last_tag: bytes
    torn: bool
    of_old: bool


def pack(
    protection: ConfigurationProtection,
    config_key: KeyMaterial,
    configuration: Configuration,
    nonce: bytes,
) -> bytes:
    """A file of one piece; ``nonce`` is 12 bytes never used with this config key."""
    header = _encoder.encode(protection)
    box = AESGCM(config_key.reveal()).encrypt(nonce, _encoder.encode(configuration), header)
    return _frame_piece(_encoder.encode(_First(_FORMAT, header, nonce, box)))


def pack_addition(
    last_tag: bytes, config_key: KeyMaterial, addition: Addition, nonce: bytes
) -> bytes:
    """A piece to append after the piece whose tag is ``last_tag``; ``nonce`` as in ``pack``."""
    clear = _encoder.encode(addition)
    return _frame_piece(
        nonce + AESGCM(config_key.reveal()).encrypt(nonce, clear, _addition_context(last_tag))
    )


def tag_of(piece: bytes) -> bytes:
    """The tag of a piece, to which the next piece is bound."""
    return piece[-_TAG_SIZE:]


def read_protection(data: bytes) -> ConfigurationProtection:
    """The header of a file, not yet authenticated; ``CryptographicFailure`` if it is malformed."""
    return _decode_first(next(_split_pieces(data), b""))[1]


def unpack(data: bytes, config_key: KeyMaterial) -> OpenedConfiguration:
    """The content of the file; ``CryptographicFailure`` for another key, or an altered file."""
    pieces = _split_pieces(data)
    piece = next(pieces, b"")
    first, protection = _decode_first(piece)
    cipher = AESGCM(config_key.reveal())
    try:
        clear = cipher.decrypt(first.nonce, first.box, first.header)
        now, count = with_kinds(_configuration.decode(clear)), protection.count
        size = first_size = len(data) if _is_of_old(data) else 2 * _WORD + len(piece)
        last_tag = tag_of(first.box)
        for more in pieces:
            nonce, box = more[:NONCE_SIZE], more[NONCE_SIZE:]
            step = _addition.decode(cipher.decrypt(nonce, box, _addition_context(last_tag)))
            now, count, last_tag = apply_addition(now, step), step.count, tag_of(box)
            size += 2 * _WORD + len(more)
    except (InvalidTag, ValueError, msgspec.DecodeError):
        raise CryptographicFailure("the configuration does not open with this key") from None
    torn, of_old = size < len(data), _is_of_old(data)
    return OpenedConfiguration(now, count, size, first_size, last_tag, torn, of_old)


def _addition_context(last_tag: bytes) -> bytes:
    return b"behind " + last_tag


def _frame_piece(content: bytes) -> bytes:
    length = len(content).to_bytes(_WORD, "big")
    return length + zlib.crc32(length).to_bytes(_WORD, "big") + content


def _is_of_old(data: bytes) -> bool:
    return data[:1] == bytes((_FIRST_BYTE_OF_OLD,))


def _split_pieces(data: bytes) -> Iterator[bytes]:
    """The complete pieces of a file; ``CryptographicFailure`` where a length is damaged."""
    if _is_of_old(data):
        yield data
        return
    at = 0
    while at + 2 * _WORD <= len(data):
        length, check = data[at : at + _WORD], data[at + _WORD : at + 2 * _WORD]
        if zlib.crc32(length).to_bytes(_WORD, "big") != check:
            raise CryptographicFailure("the configuration archive is damaged")
        begin = at + 2 * _WORD
        at = begin + int.from_bytes(length, "big")
        if at > len(data):
            return
        yield data[begin:at]


def _decode_first(piece: bytes) -> tuple[_First, ConfigurationProtection]:
    try:
        first = _first.decode(piece)
        protection = _protection.decode(first.header)
    except (msgspec.DecodeError, ValueError):
        raise CryptographicFailure("the configuration archive is damaged") from None
    if first.format not in (_FORMAT, _FORMAT_OF_OLD):
        raise CryptographicFailure(f"configuration archive of format {first.format}")
    return first, protection


INDEX: Final = 0x01800100
"""The NV index of the counter."""


async def raise_to(tpm: Tpm, count: int) -> None:
    """Raise the counter by one, unless it has that value already. Raises ``TpmError``."""
    if await read_counter(tpm, INDEX) != count:
        await tpm.counter(INDEX, bump=True)


def find_rollback(archive: int, tpm: int | None) -> str:
    """Why this archive is not the last one; empty when it is. Pure; see the table above."""
    if tpm is None:
        return "" if archive == 0 else f"the TPM has no counter, and the archive has {archive}"
    if archive < tpm:
        return f"an older archive was put back: it is number {archive}, the TPM counts {tpm}"
    if archive > tpm + 1:
        return f"the TPM's state was put back: it counts {tpm}, the archive is number {archive}"
    return ""


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
