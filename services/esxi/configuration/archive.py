"""The encrypted configuration archive: its format, and its one writer.

A file holds a header in clear (how the config key is protected) and the configuration under
AES-256-GCM, bound to that header. A save goes to a new file, is synced, takes the old one's
name, and the folder is synced: a crash at any moment leaves the old or the new, whole.

One write is in flight. Whoever saves meanwhile waits, and the next write covers all of them.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, assert_never

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import CryptographicFailure, SaveFailed
from protocol.secret import KeyMaterial
from protocol.terms import ProtectionMode
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import PcrSelection, SealedBlob
from services.esxi.configuration.rollback import INDEX, raise_to
from services.esxi.configuration.sections import Configuration, Section, merged, with_kinds
from services.runtime.durable import replace_durably
from services.runtime.nv_counter import next_count
from services.runtime.ports import Disk, Rng, Tpm

FOLDER: Final = "bootbank"
FILE: Final = f"{FOLDER}/state.tgz"
CONFIG_KEY_SIZE: Final = 32
_FORMAT: Final = 1


class Protection(msgspec.Struct, frozen=True, kw_only=True):
    """How the config key is kept: sealed by the TPM, or made from ``material`` beside it.

    ``pcrs`` are those of the sealing policy. ``recovery_wrapped`` is the config key under the
    recovery key ``recovery_id`` (mode TPM). ``count`` is the number of this archive by the TPM's
    counter (``rollback``); 0: it was not counted. ``ValueError`` for what could open nothing: the
    header of an archive file is believed only as far as it makes sense.
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


class _File(msgspec.Struct, frozen=True, array_like=True):
    format: int
    header: bytes
    nonce: bytes
    box: bytes


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, KeyMaterial):
        return value.reveal()  # into the buffer that is encrypted next, nowhere else
    raise TypeError(f"{type(value).__name__} has no place in the archive")


def _from_bytes(kind: type, value: Any) -> Any:
    if kind is KeyMaterial and isinstance(value, bytes):
        return KeyMaterial(value)
    raise ValueError(f"{kind.__name__} has no place in the archive")


_encoder = msgspec.msgpack.Encoder(enc_hook=_to_bytes)
_configuration = msgspec.msgpack.Decoder(Configuration, dec_hook=_from_bytes)
_protection = msgspec.msgpack.Decoder(Protection)
_file = msgspec.msgpack.Decoder(_File)


def pack(
    protection: Protection, config_key: KeyMaterial, configuration: Configuration, nonce: bytes
) -> bytes:
    """The archive file; ``nonce`` is 12 bytes never used with this config key."""
    header = _encoder.encode(protection)
    box = AESGCM(config_key.reveal()).encrypt(nonce, _encoder.encode(configuration), header)
    return _encoder.encode(_File(_FORMAT, header, nonce, box))


def read_protection(data: bytes) -> Protection:
    """The header of an archive file, not yet authenticated; ``CryptographicFailure`` if bad."""
    return _file_and_protection(data)[1]


def unpack(data: bytes, config_key: KeyMaterial) -> Configuration:
    """The configuration; ``CryptographicFailure`` for another key, or an altered file."""
    file, _ = _file_and_protection(data)
    try:
        clear = AESGCM(config_key.reveal()).decrypt(file.nonce, file.box, file.header)
        return with_kinds(_configuration.decode(clear))
    except (InvalidTag, ValueError, msgspec.DecodeError):
        raise CryptographicFailure("the configuration does not open with this key") from None


def _file_and_protection(data: bytes) -> tuple[_File, Protection]:
    try:
        file = _file.decode(data)
        protection = _protection.decode(file.header)
    except (msgspec.DecodeError, ValueError):
        raise CryptographicFailure("the configuration archive is damaged") from None
    if file.format != _FORMAT:
        raise CryptographicFailure(f"configuration archive of format {file.format}")
    return file, protection


class Archive:
    """The configuration in force (``now``), its protection, and what of it is on disk.

    ``counter`` is the TPM that counts the archives of mode TPM, if any does.
    """

    def __init__(
        self,
        disk: Disk,
        rng: Rng,
        protection: Protection,
        config_key: KeyMaterial,
        saved: Configuration | None,
        now: Configuration | None = None,
        *,
        counter: Tpm | None = None,
    ) -> None:
        self.now = now or saved or Configuration()
        self.protection, self.config_key = protection, config_key
        self.writes = 0
        self._disk, self._rng, self._counter = disk, rng, counter
        self._saved, self._saved_protection = saved, protection
        self._lock = asyncio.Lock()
        self._wanted = Section.NOTHING
        self._asked = 0
        self._covered = self._refused = 0  # which of the asked the last write covered, or failed
        self._refusal = ""

    def change(self, **fields: Any) -> None:
        """Change fields of the configuration in memory; ``save`` makes it durable."""
        self.now = msgspec.structs.replace(self.now, **fields)

    def protect(self, protection: Protection, config_key: KeyMaterial) -> None:
        """From the next write on, protect it so."""
        self.protection, self.config_key = protection, config_key

    @property
    def dirty(self) -> bool:
        """Whether a full save would write."""
        return (
            self._saved is None
            or self.protection is not self._saved_protection
            or merged(self._saved, self.now, Section.ALL) is not self._saved
        )

    async def save(self, sections: Section = Section.ALL) -> None:
        """Return when these sections, as they are now or newer, are durable.

        ``SaveFailed`` when the disk refuses, or the TPM that counts archives, for each whom the
        write was to cover; what is on disk is then whole, the last archive or the one that was to
        be, and the next save tries again.
        """
        self._asked += 1
        mine = self._asked
        self._wanted |= sections
        async with self._lock:
            if self._covered >= mine:
                return
            if self._refused >= mine:
                raise SaveFailed(self._refusal)
            covers, wanted, self._wanted = self._asked, self._wanted, Section.NOTHING
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

    async def _write(self, sections: Section) -> None:
        protection, config_key = self.protection, self.config_key
        image = self.now if self._saved is None else merged(self._saved, self.now, sections)
        if image is self._saved and protection is self._saved_protection:
            return
        counter = self._counter if protection.mode is ProtectionMode.TPM else None
        count = protection.count if counter is None else await next_count(counter, INDEX)
        header = msgspec.structs.replace(protection, count=count)
        data = pack(header, config_key, image, self._rng.token(NONCE_SIZE))
        await replace_durably(self._disk, FILE, data, folder_is_new=self._saved is None)
        if counter is not None:
            await raise_to(counter, count)
        self._saved, self._saved_protection = image, protection
        self.writes += 1
