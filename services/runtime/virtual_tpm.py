"""Second half of the Tpm port: TPMs of virtual machines, which consist of their state alone.

A vTPM is bytes (``VirtualTpmState``). For one guest command the state is loaded into one of a few
instances of the same engine that implements the hosts' TPMs, and taken out again: an idle vTPM
costs only its bytes, and no instance belongs to a VM. The result is a new state beside the answer.
The caller must not release the answer before the new state is durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

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

T = TypeVar("T")


@dataclass(frozen=True, repr=False)
class VirtualTpmState:
    """A vTPM: ``nv`` is everything that outlives its power, seeds and keys included; ``memory`` is
    the rest while it has power (empty without). Both are as secret as the keys in them."""

    nv: bytes
    memory: bytes = b""

    def without_power(self) -> VirtualTpmState:
        """The state after a power cut."""
        return VirtualTpmState(self.nv)


class VirtualTpmCommands(Protocol):
    """A vTPM during one guest command. The calls are those of ``ports.Tpm``, but they block.

    Refusals are ``TpmError`` with the TPM's own return code; ``gone`` without power.
    """

    def power_on(self) -> None:
        """Power on, with TPM2_Startup(CLEAR)."""
        ...

    def power_off(self, orderly: bool) -> None:
        """Power off, after TPM2_Shutdown(CLEAR) if ``orderly``."""
        ...

    def extend_log(self, events: Sequence[MeasuredEvent]) -> bytes:
        """Extend every event into its PCR; return the TCG2 event log of exactly these events."""
        ...

    def pcrs(self, selection: PcrSelection) -> dict[int, bytes]:
        """The SHA-256 values of the PCRs in ``selection``, by number."""
        ...

    def ensure_srk(self) -> TpmName:
        """Create and persist the storage root key once; return its TPM name."""
        ...

    def seal(self, secret: bytes, policy: bytes) -> SealedBlob:
        """Seal 1..128 bytes under the storage root key and a policy digest."""
        ...

    def unseal(self, blob: SealedBlob, selection: PcrSelection) -> bytes:
        """The secret in ``blob``, unsealed in a new session with a policy over these PCRs."""
        ...

    def ek(self, kind: EkKind) -> tuple[PublicArea, bytes | None]:
        """The endorsement key of this kind."""
        ...

    def ak(self) -> tuple[PublicArea, TpmName]:
        """The attestation key and its TPM name."""
        ...

    def activate(self, id_object: bytes, encrypted_seed: bytes) -> bytes:
        """The secret of a credential made for this endorsement key and this attestation key."""
        ...

    def quote(self, selection: PcrSelection, nonce: bytes) -> Quote:
        """PCR values signed by the attestation key."""
        ...

    def counter(self, index: int, bump: bool = False) -> int:
        """The value of an NV counter. ``bump`` increments it first, and defines it if needed."""
        ...

    def nv_read(self, index: int) -> bytes:
        """The whole content of an NV index."""
        ...

    def nv_write(self, index: int, data: bytes) -> None:
        """Define the owner's NV index with exactly this content."""
        ...

    def info(self) -> TpmInfo:
        """Its maker and version, its counters and its lockout state."""
        ...


class VirtualTpms(Protocol):
    """Manufactures vTPMs and runs commands on them; it stores none."""

    async def manufacture(self) -> VirtualTpmState:
        """A newly manufactured TPM with seeds of its own, without power."""
        ...

    async def run_command(
        self, state: VirtualTpmState, label: str, work: Callable[[VirtualTpmCommands], T]
    ) -> tuple[VirtualTpmState, T]:
        """Load ``state``, call ``work`` with the vTPM, and return the new state with the result.

        ``label`` is a key of ``services.runtime.tpm.latency`` that begins with ``vtpm.``. ``work``
        is synchronous, takes and returns values only, and runs in a thread. An exception of
        ``work`` is raised here; ``state`` is then still the vTPM's state. ``ValueError``
        (``ForeignImage``) for a state of another backend.
        """
        ...
