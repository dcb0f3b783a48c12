"""One ESAPI context of tpm2-pytss over one engine: handles, sessions, templates.

Three traps shaped it. There are three slots each for objects and sessions and no resource manager,
so every handle is flushed in ``finally``. A field of a *temporary* pytss result reads freed memory,
so parents are kept in variables and values copied at once. An ESYS handle of a persistent object is
opened once per context and never closed.

The binding has no types: this module and ``libtpms`` wrap it. Its exceptions (``TSS2_Exception``)
are raised unchanged.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

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
from tpm2_pytss.constants import (
    ESYS_TR,
    TPM2_ALG,
    TPM2_CAP,
    TPM2_NT,
    TPM2_PT,
    TPM2_SE,
    TPMA_NV,
    TPMA_SESSION,
)
from tpm2_pytss.types import TPML_PCR_SELECTION

from protocol.tpm.errors import RC_HANDLE_1
from protocol.tpm.structures import PublicArea
from services.runtime.tpm.tss_crypto import install_crypto_callbacks

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
