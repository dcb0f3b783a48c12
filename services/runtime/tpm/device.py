"""The TPM as a device of the lab: it outlives the lives of its host, and the lab commands it.

All calls block, one at a time, so several threads may call. A service never sees this:
it has the Tpm port (``port.TpmPort``) of one life, which ends with that life.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from protocol.messages.agent import TpmBackend
from protocol.tpm.structures import (
    EkKind,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
    SealedBlob,
    TpmInfo,
    TpmName,
)

AnswerDelay = Callable[[str], float]
"""Name of a port method -> lab seconds by which the answer comes later."""


class TpmDevice(Protocol):
    """A TPM 2.0. Refusals are ``TpmError`` with the TPM's own return code.

    A call other than power_on and the lab's commands, on a TPM without power, is ``gone``.
    """

    @property
    def backend(self) -> TpmBackend:
        """The backend that plays this TPM."""
        ...

    @property
    def powered(self) -> bool:
        """Whether it has power."""
        ...

    def exclusive(self) -> AbstractContextManager[object]:
        """Hold the TPM over several calls (re-entrant). Who ends a host's life and then cuts
        the power can be sure that no call of that life runs later, if every call of that life
        looks, while it holds the TPM, whether it still lives."""
        ...

    # The host's half: what the Tpm port hands on.

    def power_on(self) -> None:
        """Power and Startup(CLEAR). 0x100 when it has power: cut it first, or PCRs would stay.
        0x101 when its NV is damaged or cannot be written; it then has power, and failed."""
        ...

    def power_off(self, orderly: bool) -> None:
        """Take the power; before it Shutdown(CLEAR) if ``orderly``. No change when off.
        A TPM that refuses Shutdown just loses power: its next start tells (``safe``)."""
        ...

    def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        """Extend every event (but NO_ACTION) and return the TCG2 log of exactly these.
        0x907 at an event for a PCR of a dynamic launch (17..22); those before it are in."""
        ...

    def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        """The SHA-256 values of the PCRs in ``selection``, by number."""
        ...

    def ensure_srk(self) -> TpmName:
        """Create and persist the storage root key if it is not there; its name."""
        ...

    def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        """Seal 1..128 bytes under a policy digest (32 bytes). 0x18B without a root key."""
        ...

    def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        """The secret. 0x18B without a root key, 0x1DF when the blob is not of this root key or
        altered, 0x99D when PCRs differ from the policy, 0x1D5 or 0x2D5 when its private or
        public part is none at all."""
        ...

    def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        """The endorsement key, and its certificate: None, for the port adds its maker's."""
        ...

    def ak(self) -> tuple[PublicArea, TpmName]:
        """The attestation key, a primary of the endorsement hierarchy: same after a clear."""
        ...

    def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        """The secret of a credential made for this endorsement key and attestation key; 0x1DF
        when it was made for others, 0x1D5 or 0x2D5 when it is no credential at all."""
        ...

    def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        """Signed PCR values; ``nonce`` has at most 64 bytes."""
        ...

    def counter(self, index: int, bump: bool = False) -> int:
        """Value of an NV counter, after one step up if ``bump``, which also defines it.
        0x18B when it is not defined; 0x282 to bump an index that is no counter."""
        ...

    def nv_read(self, index: int) -> bytes:
        """All of an NV index. 0x18B when it is not defined, 0x14A when it was never written."""
        ...

    def nv_write(self, index: int, data: bytes) -> None:
        """Define the index (0x01800000..0x01BFFFFF) with exactly this content, 1..2,048 bytes.
        0x14B when NV is full, 0x82 when the index is a counter. An index of another size is
        undefined and defined anew: power lost in between leaves none."""
        ...

    def info(self) -> TpmInfo:
        """Counters and lockout state; in failure mode ``failed`` is all it tells."""
        ...

    # The lab's half: never given to a service. Works with and without power.

    def ek_digest(self) -> str:
        """SHA-256 (hex) of the ECC endorsement key's public area: another one, another TPM."""
        ...

    def srk_name(self) -> TpmName | None:
        """The storage root key as it is, None when there is none: another one opens nothing that
        was sealed under the one before."""
        ...

    def snapshot(self) -> bytes:
        """The NV image as it is now."""
        ...

    def restore(self, image: bytes) -> None:
        """Cut the power and put an NV image back; the TPM does not notice that it is old.
        ``ForeignImage`` for one of another backend."""
        ...

    def resume(self, image: bytes, memory: bytes) -> None:
        """Cut the power and go on as another TPM, in the midst of its work: ``suspend`` gave its NV
        image and what it had in memory, here or elsewhere. Without ``memory`` it has no power.
        ``ForeignImage`` for an image of another backend."""
        ...

    def suspend(self) -> tuple[bytes, bytes]:
        """Its NV image and its memory (empty without power), for ``resume``; then no power."""
        ...

    def swap(self) -> None:
        """Cut the power and replace the TPM by a newly made one."""
        ...

    def clear(self) -> None:
        """TPM2_Clear, as the firmware's set-up does it. A TPM without power gets it for that
        long. Root key, owner's NV and counters are gone; endorsement keys stay."""
        ...

    def occupy(self) -> None:
        """Put a key of an installation before this one in the place of the storage root key: it
        seals nothing, and only ``clear`` takes it away."""
        ...

    def lockout(self) -> None:
        """Fail authorizations until dictionary attack protection refuses more."""
        ...

    def fail_nv(self, on: bool) -> None:
        """Let NV writes fail. A TPM with power is made to write, so that it enters failure mode
        at once; it leaves that at the next power-on after ``fail_nv(False)``."""
        ...

    def cut_power(self) -> None:
        """Take the power without Shutdown; no change when it has none."""
        ...

    def delay(self, rule: AnswerDelay | None) -> None:
        """Let answers come later; the port waits (``delay_s``), in the lab's own time."""
        ...

    def delay_s(self, label: str) -> float:
        """By how many lab seconds the answer of the port method ``label`` comes later."""
        ...

    def close(self) -> None:
        """Cut the power and give everything back; the NV image stays in its store."""
        ...
