"""One ESAPI context of tpm2-pytss over one engine: handles, sessions, templates, and the
cryptography of the TSS's own end of a session (hashes, HMACs, ECDH, AES).
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import os
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from tpm2_pytss import (
    ESAPI,
    TPM2B_AUTH,
    TPM2B_NV_PUBLIC,
    TPM2B_PUBLIC,
    TPM2B_SENSITIVE_CREATE,
    TPMS_NV_PUBLIC,
    TPMT_PUBLIC,
    TPMT_SYM_DEF,
    PyTCTI,
    TSS2_Exception,
)
from tpm2_pytss._libtpm2_pytss import ffi, lib
from tpm2_pytss.constants import (
    ESYS_TR,
    TPM2_ALG,
    TPM2_CAP,
    TPM2_ECC,
    TPM2_NT,
    TPM2_PT,
    TPM2_SE,
    TPMA_NV,
    TPMA_SESSION,
    TSS2_RC,
)
from tpm2_pytss.types import TPML_PCR_SELECTION

from protocol.tpm.errors import RC_HANDLE_1
from protocol.tpm.structures import PublicArea

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


SRK_HANDLE: Final = 0x81000001
COUNTER: Final = int(TPM2_NT.COUNTER) << int(TPMA_NV.TPM2_NT_SHIFT)
NV_ATTRIBUTES: Final = int(
    TPMA_NV.OWNERREAD | TPMA_NV.OWNERWRITE | TPMA_NV.AUTHREAD | TPMA_NV.NO_DA
)
DATA_OUT: Final = TPMA_SESSION.ENCRYPT | TPMA_SESSION.CONTINUESESSION
DATA_IN: Final = TPMA_SESSION.DECRYPT | TPMA_SESSION.CONTINUESESSION
_AES_CFB: Final = TPMT_SYM_DEF.parse("aes128cfb")
_BANKS: Final = ((0x0004, b"\x00"), (0x000B, b"\xff"), (0x000C, b"\x00"), (0x000D, b"\x00"))
_ONLY_SHA256: Final = struct.pack(">I", len(_BANKS)) + b"".join(
    struct.pack(">HB", algorithm, 3) + mask * 3 for algorithm, mask in _BANKS
)
"""Every bank must be named: an unnamed bank keeps its PCRs, which anybody could then extend."""


class _Tcti(PyTCTI):  # type: ignore[misc]
    """Passes commands of the TSS to the engine."""

    def __init__(self, process: Callable[[bytes], bytes]) -> None:
        super().__init__()
        self._process = process
        self._response = b""

    def do_transmit(self, command: bytes) -> None:
        self._response = self._process(command)

    def do_receive(self, timeout: int) -> bytes:
        return self._response


class Context:
    """An ESAPI context (``esys``) and its open handles; created at each power-on."""

    def __init__(self, process: Callable[[bytes], bytes]) -> None:
        self.esys: Any = ESAPI(_Tcti(process))
        install_crypto_callbacks(self.esys)
        self._open: dict[int, Any] = {}
        self._primaries: dict[tuple[int, bytes], tuple[Any, PublicArea]] = {}

    def close(self) -> None:
        """Release all handles and the TPM."""
        self._open.clear()
        self._primaries.clear()
        self.esys.close()

    def open_handle(self, index: int) -> Any:
        """Handle of a persistent object or NV index; 0x18B when it is not there."""
        handle = self._open.get(index)
        if handle is None:
            handle = self._open[index] = self.esys.tr_from_tpmpublic(index)
        return handle

    @contextmanager
    def hold_transient(self, handle: Any) -> Iterator[Any]:
        """Hold a transient object or session, and flush it at the end whatever happens."""
        try:
            yield handle
        finally:
            with suppress(TSS2_Exception):
                self.esys.flush_context(handle)

    @contextmanager
    def open_salted_session(self, salt: Any, kind: Any, attributes: Any) -> Iterator[Any]:
        """An encrypting session salted with the root key: its keys cannot be read on the bus."""
        started = self.esys.start_auth_session(salt, ESYS_TR.NONE, kind, _AES_CFB, TPM2_ALG.SHA256)
        with self.hold_transient(started) as session:
            self.esys.trsess_set_attributes(session, attributes)
            yield session

    @contextmanager
    def policy(self) -> Iterator[Any]:
        """A plain policy session."""
        null = TPMT_SYM_DEF(algorithm=TPM2_ALG.NULL)
        started = self.esys.start_auth_session(
            ESYS_TR.NONE, ESYS_TR.NONE, TPM2_SE.POLICY, null, TPM2_ALG.SHA256
        )
        with self.hold_transient(started) as session:
            yield session

    @contextmanager
    def primary(self, hierarchy: Any, area: PublicArea) -> Iterator[tuple[Any, PublicArea]]:
        """A primary key created from a template: its handle and its public area.

        It is created once; later its saved context is loaded. The TPM accepts the saved context
        until it loses power or is cleared, which also ends this ``Context``.
        """
        saved = self._primaries.get((int(hierarchy), area.raw))
        if saved is not None:
            with self.hold_transient(self.esys.context_load(saved[0])) as loaded:
                yield loaded, saved[1]
            return
        made, public, *_ = self.esys.create_primary(
            TPM2B_SENSITIVE_CREATE(), template(area), hierarchy
        )
        with self.hold_transient(made):
            found = area_of(public)
            self._primaries[int(hierarchy), area.raw] = self.esys.context_save(made), found
            yield made, found

    def persist_srk(self, made: Any) -> Any:
        """Persist the key ``made`` as the storage root key; returns its persistent handle."""
        handle = self.esys.evict_control(ESYS_TR.OWNER, made, SRK_HANDLE)
        self._open[SRK_HANDLE] = handle
        return handle

    def evict_srk(self) -> None:
        """Remove the persistent storage root key."""
        handle = self.open_handle(SRK_HANDLE)
        self.esys.evict_control(ESYS_TR.OWNER, handle, SRK_HANDLE)
        del self._open[SRK_HANDLE]

    def define(self, index: int, size: int, attributes: int, auth: bytes = b"") -> Any:
        """Define an NV index of the owner; returns its handle."""
        public = TPM2B_NV_PUBLIC(
            TPMS_NV_PUBLIC(
                nvIndex=index,
                nameAlg=TPM2_ALG.SHA256,
                attributes=TPMA_NV(attributes),
                dataSize=size,
            )
        )
        handle = self._open[index] = self.esys.nv_define_space(TPM2B_AUTH(auth), public)
        return handle

    def undefine(self, index: int) -> None:
        """Remove an NV index of the owner."""
        self.esys.nv_undefine_space(self.open_handle(index))
        del self._open[index]

    def nv_public(self, index: int) -> tuple[int, int] | None:
        """Size and attributes of an NV index; None when it is not defined."""
        try:
            public, _ = self.esys.nv_read_public(self.open_handle(index))
        except TSS2_Exception as error:
            if int(error.rc) != RC_HANDLE_1:
                raise
            return None
        inner = public.nvPublic
        return int(inner.dataSize), int(inner.attributes)

    def properties(self) -> dict[int, int]:
        """TPM properties from PT_PERMANENT on, by number."""
        _, data = self.esys.get_capability(TPM2_CAP.TPM_PROPERTIES, int(TPM2_PT.PERMANENT), 16)
        union = data.data
        found = union.tpmProperties
        return {int(entry.property): int(entry.value) for entry in found}

    def allocate_sha256(self) -> None:
        """Leave only the SHA-256 bank of PCRs, from the next power-on."""
        allocation, _ = TPML_PCR_SELECTION.unmarshal(_ONLY_SHA256)
        self.esys.pcr_allocate(allocation)


def selection_text(pcrs: Sequence[int]) -> str:
    """The PCR selection in the syntax of the binding."""
    return "sha256:" + ",".join(str(pcr) for pcr in pcrs)


def template(area: PublicArea) -> Any:
    """A TPM2B_PUBLIC of this public area."""
    public, _ = TPMT_PUBLIC.unmarshal(area.raw)
    return TPM2B_PUBLIC(public)


def area_of(public: Any) -> PublicArea:
    """The public area in a TPM2B_PUBLIC."""
    inner = public.publicArea
    return PublicArea(bytes(inner.marshal()))


def refusal_code(call: Callable[[], object]) -> int:
    """The return code with which ``call`` is refused; 0 when it succeeds."""
    try:
        call()
    except TSS2_Exception as error:
        return int(error.rc)
    return 0
