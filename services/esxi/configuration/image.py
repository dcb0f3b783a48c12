"""The file of the encrypted configuration, as bytes. Pure.

A file is a row of pieces, each behind its length and a check of that length:

| piece | content | bound to |
|---|---|---|
| first | a header in clear (how the config key is protected), the configuration | the header |
| others | what was added since (``sections.Addition``) | the piece before it |

All is under AES-256-GCM with the config key. A piece is bound by the tag of the one before, so no
piece opens in another file, in another place, or behind another one. A file that ends inside its
last piece was cut while that piece was written, before it was reported as durable: the earlier
pieces count (``OpenedConfiguration.torn``). Everything else that does not open is damage.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, assert_never

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.crypto.wrap import NONCE_SIZE
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import ProtectionMode
from protocol.tpm.structures import PcrSelection, SealedBlob
from services.esxi.configuration.sections import Addition, Configuration, apply_addition, with_kinds
from services.esxi.configuration.stored_keys import StoredKey, StoredKeys

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
