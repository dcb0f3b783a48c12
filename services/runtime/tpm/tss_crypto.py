"""The cryptography of the TSS's own end of a session: hashes, HMACs, ECDH, AES.

By default the TSS creates a new library context of OpenSSL for each hash and each HMAC: 0.3 ms
each, four fifths of the cost of a seal or an unseal. ``Esys_SetCryptoCallbacks`` replaces these
functions by those of this module, which use ``hashlib`` and ``cryptography`` and share one context.
The bytes between a TPM and its caller stay the same, and a TPM checks each HMAC.

A function that is called from C may not raise. It returns an error code of the TSS instead, and
passes the exception to ``sys.unraisablehook``.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import struct
from typing import Any, Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from tpm2_pytss._libtpm2_pytss import ffi, lib
from tpm2_pytss.constants import TPM2_ALG, TPM2_ECC, TSS2_RC

_DONE: Final = 0
_FAILED: Final = int(TSS2_RC.ESYS_RC_GENERAL_FAILURE)
_NOT_IMPLEMENTED: Final = int(TSS2_RC.ESYS_RC_NOT_IMPLEMENTED)
_BAD_VALUE: Final = int(TSS2_RC.ESYS_RC_BAD_VALUE)
_BAD_SIZE: Final = int(TSS2_RC.ESYS_RC_BAD_SIZE)
_HASHES: Final = {
    int(TPM2_ALG.SHA1): "sha1",
    int(TPM2_ALG.SHA256): "sha256",
    int(TPM2_ALG.SHA384): "sha384",
    int(TPM2_ALG.SHA512): "sha512",
}
_CURVES: Final[dict[int, ec.EllipticCurve]] = {
    int(TPM2_ECC.NIST_P256): ec.SECP256R1(),
    int(TPM2_ECC.NIST_P384): ec.SECP384R1(),
}
_AES_AND_CFB: Final = (int(TPM2_ALG.AES), int(TPM2_ALG.CFB))
_IV_SIZE: Final = 16
_BLOB: Final = "ESYS_CRYPTO_CONTEXT_BLOB *"
_TYPES: Final = {name: field.type for name, field in ffi.typeof("ESYS_CRYPTO_CALLBACKS").fields}


class _Work:
    """A hash, or an HMAC when there is a key, of the data added until it is finished."""

    __slots__ = ("algorithm", "data", "key")

    def __init__(self, algorithm: str, key: bytes | None) -> None:
        self.algorithm, self.key, self.data = algorithm, key, bytearray()

    def digest(self) -> bytes:
        if self.key is None:
            return hashlib.new(self.algorithm, self.data).digest()
        return hmac.digest(self.key, self.data, self.algorithm)


_works: dict[int, _Work] = {}
"""The hashes that the TSS has begun and not finished, by the number that it uses as a pointer."""
_numbers: Final = itertools.count(1)


def _number(blob: Any) -> int:
    return int(ffi.cast("uintptr_t", blob))


def _begin(into: Any, algorithm: int, key: bytes | None) -> int:
    name = _HASHES.get(algorithm)
    if name is None:
        return _NOT_IMPLEMENTED
    number = next(_numbers)
    _works[number] = _Work(name, key)
    into[0] = ffi.cast(_BLOB, number)
    return _DONE


def _hash_start(into: Any, algorithm: int, user: Any) -> int:
    return _begin(into, algorithm, None)


def _hmac_start(into: Any, algorithm: int, key: Any, size: int, user: Any) -> int:
    return _begin(into, algorithm, bytes(ffi.buffer(key, size)) if size else b"")


def _update(blob: Any, data: Any, size: int, user: Any) -> int:
    if size:
        _works[_number(blob)].data += ffi.buffer(data, size)
    return _DONE


def _finish(blob: Any, into: Any, size: Any, user: Any) -> int:
    digest = _works.pop(_number(blob[0])).digest()
    blob[0] = ffi.NULL
    if size[0] < len(digest):
        return _BAD_SIZE
    ffi.memmove(into, digest, len(digest))
    size[0] = len(digest)
    return _DONE


def _abort(blob: Any, user: Any) -> None:
    _works.pop(_number(blob[0]), None)
    blob[0] = ffi.NULL


def _random(into: Any, size: int, user: Any) -> int:
    """``size`` random bytes; 0: as many as there is room for."""
    drawn = os.urandom(size or len(into.buffer))
    into.size = len(drawn)
    ffi.memmove(into.buffer, drawn, len(drawn))
    return _DONE


def _ecdh(key: Any, most: int, shared: Any, point: Any, out: Any, size: Any, user: Any) -> int:
    """An ephemeral key, and the secret that it shares with the TPM's key (TPM 2.0 part 1,
    C.6.1)."""
    area = key.publicArea
    curve = _CURVES.get(area.parameters.eccDetail.curveID)
    if curve is None:
        return _NOT_IMPLEMENTED
    theirs, mine = area.unique.ecc, ec.generate_private_key(curve)
    x, y = (int.from_bytes(_bytes_of(each), "big") for each in (theirs.x, theirs.y))
    try:
        peer = ec.EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError:  # not a point of the curve
        return _BAD_VALUE
    length = (curve.key_size + 7) // 8
    numbers = mine.public_key().public_numbers()
    own = [number.to_bytes(length, "big") for number in (numbers.x, numbers.y)]
    _put(shared, mine.exchange(ec.ECDH(), peer))
    for place, coordinate in zip((point.x, point.y), own, strict=True):
        _put(place, coordinate)
    marshalled = b"".join(struct.pack(">H", length) + coordinate for coordinate in own)
    if len(marshalled) > most:
        return _BAD_SIZE
    ffi.memmove(out, marshalled, len(marshalled))
    size[0] = len(marshalled)
    return _DONE


def _bytes_of(sized: Any) -> bytes:
    return bytes(ffi.buffer(sized.buffer, sized.size))


def _put(sized: Any, data: bytes) -> None:
    sized.size = len(data)
    ffi.memmove(sized.buffer, data, len(data))


def _cipher(key: Any, algorithm: int, bits: int, mode: int, iv: Any) -> Cipher[CFB] | None:
    if (algorithm, mode) != _AES_AND_CFB:
        return None
    start = CFB(bytes(ffi.buffer(iv, _IV_SIZE)))
    return Cipher(AES(bytes(ffi.buffer(key, bits // 8))), start)


def _encrypt(
    key: Any, algorithm: int, bits: int, mode: int, data: Any, size: int, iv: Any, user: Any
) -> int:
    cipher = _cipher(key, algorithm, bits, mode, iv)
    if cipher is None:
        return _NOT_IMPLEMENTED
    ffi.memmove(data, cipher.encryptor().update(bytes(ffi.buffer(data, size))), size)
    return _DONE


def _decrypt(
    key: Any, algorithm: int, bits: int, mode: int, data: Any, size: int, iv: Any, user: Any
) -> int:
    cipher = _cipher(key, algorithm, bits, mode, iv)
    if cipher is None:
        return _NOT_IMPLEMENTED
    ffi.memmove(data, cipher.decryptor().update(bytes(ffi.buffer(data, size))), size)
    return _DONE


def _refuse_call(*arguments: Any) -> int:
    """Refuse salts of RSA keys, and SM4: no session here uses them."""
    return _NOT_IMPLEMENTED


_OURS: Final = {
    "hash_start": _hash_start,
    "hash_update": _update,
    "hash_finish": _finish,
    "hash_abort": _abort,
    "hmac_start": _hmac_start,
    "hmac_update": _update,
    "hmac_finish": _finish,
    "hmac_abort": _abort,
    "get_random2b": _random,
    "get_ecdh_point": _ecdh,
    "aes_encrypt": _encrypt,
    "aes_decrypt": _decrypt,
    "init": lambda user: _DONE,
}


def _callback(name: str) -> Any:
    kind = _TYPES[name]
    if kind.result.kind == "void":
        return ffi.callback(kind, _OURS[name])
    return ffi.callback(kind, _OURS.get(name, _refuse_call), error=_FAILED)


_callbacks: Final = {name: _callback(name) for name, of in _TYPES.items() if of.kind == "function"}
"""The C callbacks of the functions; they must live as long as contexts of the TSS."""
_callbacks["userdata"] = ffi.NULL
_table: Final = ffi.new("ESYS_CRYPTO_CALLBACKS *", _callbacks)


def install_crypto_callbacks(esys: Any) -> None:
    """Let this ESAPI context use the functions of this module."""
    result = lib.Esys_SetCryptoCallbacks(esys._ctx, _table)
    if result != _DONE:
        raise RuntimeError(f"Esys_SetCryptoCallbacks failed with {result:#x}")
