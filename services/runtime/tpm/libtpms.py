"""The real backend: a private copy of libtpms, commanded through tpm2-pytss.

Startup and Shutdown are sent raw: the TSS treats "already started" as success, which must be
reported here. See ``tss`` for the traps of handles and sessions.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from tpm2_pytss import (
    TPM2B_DIGEST,
    TPM2B_ENCRYPTED_SECRET,
    TPM2B_ID_OBJECT,
    TPM2B_PRIVATE,
    TPM2B_SENSITIVE_CREATE,
    TPMS_SENSITIVE_CREATE,
    TPMT_HA,
    TPMU_HA,
    TSS2_Exception,
)
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG, TPM2_PT, TPM2_SE, TPMA_NV
from tpm2_pytss.types import TPML_DIGEST_VALUES

from protocol.messages.agent import TpmBackend
from protocol.tpm.errors import (
    RC_FAILURE,
    RC_HANDLE_1,
    RC_INTEGRITY_1,
    RC_LOCKOUT,
    TpmError,
    TpmErrorKind,
    tpm_error,
)
from protocol.tpm.event_log import encode_log, event_digest
from protocol.tpm.public import ak_public, ek_template, keyedhash_public, public_name, srk_public
from protocol.tpm.structures import (
    EkKind,
    EventType,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
    SealedBlob,
    TpmInfo,
    TpmName,
)
from services.runtime.tpm.base import (
    BaseDevice,
    check_blob,
    check_credential,
    check_index,
    check_nonce,
    check_seal,
)
from services.runtime.tpm.device import NvStore
from services.runtime.tpm.library import Engine
from services.runtime.tpm.tss import (
    COUNTER,
    DATA_IN,
    DATA_OUT,
    NV_ATTRIBUTES,
    SRK_HANDLE,
    Context,
    area_of,
    refusal_code,
    selection_text,
    template,
)

_PROBE_INDEX: Final = 0x01BFFFFE
"""The NV index that commands of the lab define and remove again."""
_READ_LIMIT: Final = 8
_NV_CHUNK: Final = 1024
_STARTUP_CLEAR: Final = struct.pack(">HIIH", 0x8001, 12, 0x144, 0)
_SHUTDOWN_CLEAR: Final = struct.pack(">HIIH", 0x8001, 12, 0x145, 0)
_IN_LOCKOUT: Final = 1 << 9


class LibtpmsDevice(BaseDevice):
    """A ``TpmDevice`` on libtpms."""

    kind: ClassVar[TpmBackend] = TpmBackend.LIBTPMS

    def __init__(self, nv: NvStore) -> None:
        super().__init__(nv)
        self._engine = Engine(self._load_state, self._store_state)
        self._context: Context | None = None
        try:
            self._manufacture()
        except BaseException:
            self.close()
            raise

    # Power -------------------------------------------------------------------------------------

    def power_on(self) -> None:
        with self._lock:
            if not self._powered:
                self._engine.store_error = None
                failed = self._engine.init() != 0
                self._powered = True
                if failed:
                    raise self._add_store_error(self._build_start_error())
            self._send_raw(_STARTUP_CLEAR)
            self._new_context()

    def _freeze(self) -> bytes:
        return self._engine.dump_volatile_state()

    def _thaw(self, memory: bytes) -> None:
        self._engine.store_error, self._engine.memory = None, memory
        failed = self._engine.init() != 0
        self._engine.memory = b""
        self._powered = True
        if failed:
            raise self._add_store_error(self._build_start_error())
        self._new_context()

    def _shutdown(self) -> None:
        self._send_raw(_SHUTDOWN_CLEAR)

    def _lose_power(self) -> None:
        self._drop_context()
        self._engine.terminate()

    def close(self) -> None:
        with self._lock:
            super().close()
            self._engine.close()

    def _send_raw(self, command: bytes) -> None:
        response = self._engine.process(command)
        rc = int.from_bytes(response[6:10], "big")
        if rc:
            raise self._add_store_error(tpm_error(rc))

    def _new_context(self) -> None:
        self._drop_context()
        self._context = Context(self._engine.process)

    def _drop_context(self) -> None:
        if self._context is not None:
            self._context.close()
            self._context = None

    def _add_store_error(self, error: TpmError) -> TpmError:
        if error.kind is TpmErrorKind.FAILURE and self._engine.store_error is not None:
            error.add_note(f"NV could not be written: {self._engine.store_error}")
        return error

    @contextmanager
    def _at_work(self) -> Iterator[Context]:
        """Hold the context for one operation; refusals of the TSS are raised as ``TpmError``."""
        with self._lock:
            self._check_power()
            if self._context is None:
                raise self._add_store_error(tpm_error(RC_FAILURE))
            try:
                yield self._context
            except TSS2_Exception as error:
                raise self._add_store_error(tpm_error(int(error.rc))) from None

    # PCRs --------------------------------------------------------------------------------------

    def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        with self._at_work() as tpm:
            measured = [event for event in events if event.type is not EventType.NO_ACTION]
            for event in measured:
                digest = TPMT_HA(
                    hashAlg=TPM2_ALG.SHA256, digest=TPMU_HA(sha256=event_digest(event))
                )
                tpm.esys.pcr_extend(ESYS_TR(event.pcr), TPML_DIGEST_VALUES([digest]))
            if not measured:  # without a measurement nothing has shown yet whether the TPM works
                tpm.esys.read_clock()
            return encode_log(events)

    def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        with self._at_work() as tpm:
            values: dict[int, bytes] = {}
            for start in range(0, len(selection.pcrs), _READ_LIMIT):
                chunk = selection.pcrs[start : start + _READ_LIMIT]
                _, _, digests = tpm.esys.pcr_read(selection_text(chunk))
                values.update(zip(chunk, [bytes(digest) for digest in digests], strict=True))
            return values

    # Sealing -----------------------------------------------------------------------------------

    def ensure_srk(self) -> TpmName:
        with self._at_work() as tpm:
            try:
                handle = tpm.open_handle(SRK_HANDLE)
            except TSS2_Exception as error:
                if int(error.rc) != RC_HANDLE_1:
                    raise
                with tpm.primary(ESYS_TR.OWNER, srk_public()) as (made, _):
                    handle = tpm.persist_srk(made)
            # Ask the TPM itself: an open handle would hide that it has failed since.
            _, name, _ = tpm.esys.read_public(handle)
            return TpmName(bytes(name))

    def srk_name(self) -> TpmName | None:
        with self._at_work() as tpm:
            try:
                _, name, _ = tpm.esys.read_public(tpm.open_handle(SRK_HANDLE))
            except TSS2_Exception as error:
                if int(error.rc) != RC_HANDLE_1:
                    raise
                return None
            return TpmName(bytes(name))

    def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        check_seal(secret, policy)
        with self._at_work() as tpm:
            srk = tpm.open_handle(SRK_HANDLE)
            sensitive = TPM2B_SENSITIVE_CREATE(TPMS_SENSITIVE_CREATE(data=secret))
            with tpm.open_salted_session(srk, TPM2_SE.HMAC, DATA_IN) as session:
                private, public, *_ = tpm.esys.create(
                    srk, sensitive, template(keyedhash_public(policy)), session2=session
                )
            return SealedBlob(bytes(private), area_of(public).raw)

    def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        check_blob(blob)
        with self._at_work() as tpm:
            srk = tpm.open_handle(SRK_HANDLE)
            private, public = TPM2B_PRIVATE(blob.private), template(PublicArea(blob.public))
            with (
                tpm.hold_transient(tpm.esys.load(srk, private, public)) as sealed,
                tpm.open_salted_session(srk, TPM2_SE.POLICY, DATA_OUT) as session,
            ):
                tpm.esys.policy_pcr(session, TPM2B_DIGEST(), selection_text(selection.pcrs))
                secret = tpm.esys.unseal(sealed, session1=session)
                return bytes(secret)

    # Attestation -------------------------------------------------------------------------------

    def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        with (
            self._at_work() as tpm,
            tpm.primary(ESYS_TR.ENDORSEMENT, ek_template(kind)) as (_, area),
        ):
            return area, None

    def ak(self) -> tuple[PublicArea, TpmName]:
        with (
            self._at_work() as tpm,
            tpm.primary(ESYS_TR.ENDORSEMENT, ak_public()) as (_, area),
        ):
            return area, public_name(area)

    def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        kind = check_credential(id_object, encrypted_seed)
        with (
            self._at_work() as tpm,
            tpm.primary(ESYS_TR.ENDORSEMENT, ak_public()) as (ak, _),
            tpm.primary(ESYS_TR.ENDORSEMENT, ek_template(kind)) as (ek, _),
            tpm.policy() as session,
        ):
            tpm.esys.policy_secret(ESYS_TR.ENDORSEMENT, session)
            try:
                secret = tpm.esys.activate_credential(
                    ak,
                    ek,
                    TPM2B_ID_OBJECT(credential=id_object),
                    TPM2B_ENCRYPTED_SECRET(secret=encrypted_seed),
                    session2=session,
                )
            except TSS2_Exception as error:
                # libtpms returns "failure" for an RSA seed that is not for it, and continues to
                # work.
                if int(error.rc) != RC_FAILURE or self.info().failed:
                    raise
                raise tpm_error(RC_INTEGRITY_1) from None
            return bytes(secret)

    def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        check_nonce(nonce)
        with (
            self._at_work() as tpm,
            tpm.primary(ESYS_TR.ENDORSEMENT, ak_public()) as (ak, _),
        ):
            attest, signature = tpm.esys.quote(ak, selection_text(selection.pcrs), nonce)
            values = self.pcrs(selection)
            ordered = tuple(values[pcr] for pcr in selection.pcrs)
            return Quote(bytes(attest), bytes(signature.marshal()), selection, ordered)

    # NV ----------------------------------------------------------------------------------------

    def counter(self, index: int, bump: bool = False) -> int:
        check_index(index)
        with self._at_work() as tpm:
            if bump:
                if tpm.nv_public(index) is None:
                    tpm.define(index, 8, NV_ATTRIBUTES | COUNTER)
                tpm.esys.nv_increment(tpm.open_handle(index), auth_handle=ESYS_TR.OWNER)
            value = tpm.esys.nv_read(tpm.open_handle(index), 8, auth_handle=ESYS_TR.OWNER)
            return int.from_bytes(bytes(value), "big")

    def nv_read(self, index: int) -> bytes:
        check_index(index)
        with self._at_work() as tpm:
            handle = tpm.open_handle(index)
            size, _ = tpm.nv_public(index) or (0, 0)
            chunks = []
            for at in range(0, size, _NV_CHUNK):
                length = min(_NV_CHUNK, size - at)
                chunk = tpm.esys.nv_read(handle, length, at, auth_handle=ESYS_TR.OWNER)
                chunks.append(bytes(chunk))
            return b"".join(chunks)

    def nv_write(self, index: int, data: bytes) -> None:
        check_index(index, len(data))
        with self._at_work() as tpm:
            found = tpm.nv_public(index)
            if found is not None and found[0] != len(data) and not found[1] & COUNTER:
                tpm.undefine(index)
                found = None
            if found is None:
                tpm.define(index, len(data), NV_ATTRIBUTES)
            handle = tpm.open_handle(index)
            for at in range(0, len(data), _NV_CHUNK):
                chunk = data[at : at + _NV_CHUNK]
                tpm.esys.nv_write(handle, chunk, at, auth_handle=ESYS_TR.OWNER)

    # State and commands of the lab -------------------------------------------------------------

    def info(self) -> TpmInfo:
        try:
            with self._at_work() as tpm:
                time = tpm.esys.read_clock()
                clock = time.clockInfo
                known = tpm.properties()
                return TpmInfo(
                    backend=self.kind.value,
                    failed=False,
                    reset_count=int(clock.resetCount),
                    restart_count=int(clock.restartCount),
                    clock=int(clock.clock),
                    safe=bool(clock.safe),
                    lockout_counter=known[int(TPM2_PT.LOCKOUT_COUNTER)],
                    max_tries=known[int(TPM2_PT.MAX_AUTH_FAIL)],
                    lockout=bool(known[int(TPM2_PT.PERMANENT)] & _IN_LOCKOUT),
                )
        except TpmError as error:
            if error.kind is not TpmErrorKind.FAILURE:
                raise
            return TpmInfo(backend=self.kind.value, failed=True)

    def random(self, size: int) -> bytes:
        """``size`` (1..32) bytes of the TPM's own generator."""
        with self._at_work() as tpm:
            drawn = tpm.esys.get_random(size)
            return bytes(drawn)

    def _first_setup(self) -> bytes:
        with self._at_work() as tpm:
            tpm.allocate_sha256()
        self.power_off(orderly=True)
        self.power_on()
        area, _ = self.ek(EkKind.ECC_P256)
        return hashlib.sha256(area.raw).digest()

    def _clear(self) -> None:
        with self._at_work() as tpm:
            tpm.esys.clear(ESYS_TR.PLATFORM)
            self._new_context()

    def _occupy(self) -> None:
        with self._at_work() as tpm, tpm.primary(ESYS_TR.OWNER, ak_public()) as (made, _):
            if self.srk_name() is not None:
                tpm.evict_srk()
            tpm.persist_srk(made)

    def _lockout(self) -> None:
        attributes = int(TPMA_NV.AUTHREAD | TPMA_NV.OWNERWRITE)
        with self._at_work() as tpm, _define_scratch_index(tpm, attributes) as handle:
            tries = tpm.properties()[int(TPM2_PT.MAX_AUTH_FAIL)]
            tpm.esys.tr_set_auth(handle, b"wrong")
            for _ in range(tries + 1):
                rc = refusal_code(lambda: tpm.esys.nv_read(handle, 1))
            if rc != RC_LOCKOUT:
                raise tpm_error(rc)

    def _write_something(self) -> None:
        with self._at_work() as tpm, _define_scratch_index(tpm, NV_ATTRIBUTES):
            pass


@contextmanager
def _define_scratch_index(tpm: Context, attributes: int) -> Iterator[Any]:
    """An NV index for a command of the lab; an index that a killed process left is removed."""
    if tpm.nv_public(_PROBE_INDEX) is not None:
        tpm.undefine(_PROBE_INDEX)
    handle = tpm.define(_PROBE_INDEX, 1, attributes, b"right")
    yield handle
    tpm.undefine(_PROBE_INDEX)
