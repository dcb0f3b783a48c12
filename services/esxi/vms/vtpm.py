"""The virtual TPM of a running VM, and what a guest does with it in one command.

Each command is durable before it is answered.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec

from protocol.errors import CryptographicFailure, DatastoreFault, GuestFault
from protocol.guest_tpm import (
    CHALLENGE_PCR,
    QUOTED,
    SEALED_TO,
    SECRET_SIZE,
    TpmAnswer,
    nonce_event,
    nonce_for_quote,
    proof_of,
)
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import (
    EkKind,
    EventType,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    SealedBlob,
)
from services.esxi.vms.file_formats import (
    VmConfig,
    VtpmDevice,
    decrypt_nvram,
    encrypt_nvram,
    nvram_file,
)
from services.esxi.vms.files import write_file
from services.runtime.ports import Datastore, Rng
from services.runtime.virtual_tpm import VirtualTpmCommands, VirtualTpms, VirtualTpmState

BLOB_INDEX: Final = 0x01800101
COUNTER_INDEX: Final = 0x01800102
_OWN: Final = PcrSelection((CHALLENGE_PCR,))

BOOT: Final = (
    MeasuredEvent(0, EventType.S_CRTM_VERSION, b"VMware Virtual Platform EFI"),
    MeasuredEvent(7, EventType.EFI_VARIABLE_DRIVER_CONFIG, b"SecureBoot=1"),
    MeasuredEvent(4, EventType.EFI_BOOT_SERVICES_APPLICATION, b"guest boot loader"),
)
"""What a VM's firmware measures at power-on, the same each time."""


def endorsement_key(tpm: VirtualTpmCommands) -> bytes:
    """The public area of its endorsement key; the TPM gets power meanwhile."""
    tpm.power_on()
    area, _ = tpm.ek(EkKind.ECC_P256)
    tpm.power_off(orderly=True)
    return area.raw


def power_on_vtpm(tpm: VirtualTpmCommands, secret: bytes) -> bytes:
    """The VM's firmware measures its boot, and the guest unseals; returns the SHA-256 of the
    secret.

    A guest that has sealed nothing yet seals ``secret``.
    """
    tpm.power_on()
    tpm.extend_log(BOOT)
    tpm.ensure_srk()
    if read_counter(tpm) == 0:
        _seal(tpm, secret)
        return digest_of(secret)
    return digest_of_secret(tpm)


def read_counter(tpm: VirtualTpmCommands) -> int:
    """The number of counted commands; 0 for a new TPM."""
    try:
        return tpm.counter(COUNTER_INDEX)
    except TpmError as error:
        if error.kind is not TpmErrorKind.HANDLE:
            raise
        return 0


def seal(tpm: VirtualTpmCommands, secret: bytes) -> tuple[PublicArea, int]:
    """Seal ``secret`` in place of an earlier one; returns the attestation key, and the counter."""
    counter = _seal(tpm, secret)
    area, _ = tpm.ak()
    return area, counter


def _seal(tpm: VirtualTpmCommands, secret: bytes) -> int:
    blob = tpm.seal(secret, policy_pcr_digest(SEALED_TO, tpm.pcrs(SEALED_TO)))
    tpm.nv_write(BLOB_INDEX, msgspec.msgpack.encode(blob))
    return tpm.counter(COUNTER_INDEX, bump=True)


def _unseal_secret(tpm: VirtualTpmCommands) -> bytes:
    blob = msgspec.msgpack.decode(tpm.nv_read(BLOB_INDEX), type=SealedBlob)
    return tpm.unseal(blob, SEALED_TO)


def digest_of_secret(tpm: VirtualTpmCommands) -> bytes:
    """SHA-256 of the sealed secret, which a guest may remember."""
    return digest_of(_unseal_secret(tpm))


def digest_of(secret: bytes) -> bytes:
    """SHA-256 of a secret."""
    return hashlib.sha256(secret).digest()


def challenge(tpm: VirtualTpmCommands, nonce: bytes) -> TpmAnswer:
    """Unseal in a new session, count, measure the nonce, quote."""
    secret = KeyMaterial(_unseal_secret(tpm))
    counter = tpm.counter(COUNTER_INDEX, bump=True)
    before = tpm.pcrs(_OWN)[CHALLENGE_PCR]
    tpm.extend_log([nonce_event(nonce)])
    quote = tpm.quote(QUOTED, nonce_for_quote(nonce, counter))
    return TpmAnswer(quote, before, counter, proof_of(secret, quote.attest))


def count_start(tpm: VirtualTpmCommands) -> int:
    """Increment the counter."""
    return tpm.counter(COUNTER_INDEX, bump=True)


def measure_and_quote(tpm: VirtualTpmCommands, step: int) -> bytes:
    """Measure the step of the guest's work, and quote it."""
    tpm.extend_log([MeasuredEvent(CHALLENGE_PCR, EventType.IPL, b"work %d" % step)])
    return tpm.quote(QUOTED, step.to_bytes(8, "big")).attest


T = TypeVar("T")

_WORKS: Final = 3
"""Kinds of work that a guest does in turn."""


@dataclass(frozen=True)
class VtpmMeans:
    """The engine of vTPMs, the datastore of their files, and the source of nonces."""

    tpms: VirtualTpms
    datastore: Datastore
    rng: Rng


class _PackedVtpm(msgspec.Struct, frozen=True, array_like=True):
    nv: bytes
    memory: bytes
    number: int
    found: bytes


class Vtpm:
    """One run of one VM's vTPM. The caller holds the VM's turn, so calls come one at a time."""

    def __init__(
        self,
        means: VtpmMeans,
        config: VmConfig,
        home: KeyMaterial,
        state: VirtualTpmState,
        number: int,
    ) -> None:
        if config.vtpm is None:
            raise ValueError(f"{config.vm} has no virtual TPM")
        self.vm: VmName = config.vm
        self.device: VtpmDevice = config.vtpm
        self._means, self._home = means, home
        self._state, self._number = state, number
        self._found = b""  # SHA-256 of the sealed secret
        self._steps = 0

    async def power_on(self) -> None:
        """The firmware starts it and measures the boot; the guest unseals its secret."""
        secret = self._means.rng.token(SECRET_SIZE)
        self._found = await self._command("vtpm.power_on", partial(power_on_vtpm, secret=secret))

    async def seal(self, secret: KeyMaterial) -> tuple[PublicArea, int]:
        """Seal ``secret`` in place of an earlier one; returns the attestation key, and the
        counter."""
        sealed = await self._command("vtpm.seal", partial(seal, secret=secret.reveal()))
        self._found = digest_of(secret.reveal())
        return sealed

    async def challenge(self, nonce: bytes) -> TpmAnswer:
        """See ``protocol.guest_tpm``."""
        return await self._command("vtpm.challenge", partial(challenge, nonce=nonce))

    async def work(self) -> None:
        """One step of the guest's own work: unseal, or measure and quote, or count, in turn."""
        step = self._steps = self._steps + 1
        match step % _WORKS:
            case 0:
                await self._command("vtpm.count", count_start)
            case 1:
                found = await self._command("vtpm.unseal", digest_of_secret)
                if found != self._found:
                    raise GuestFault(f"{self.vm}: its virtual TPM unseals another secret")
            case _:
                await self._command("vtpm.quote", partial(measure_and_quote, step=step))

    def pack_for_handover(self) -> bytes:
        """Its complete state, powered, for the host to which the running VM moves."""
        state = self._state
        kept = _PackedVtpm(state.nv, state.memory, self._number, self._found)
        return msgspec.msgpack.encode(kept)

    @classmethod
    def take_over(
        cls, means: VtpmMeans, config: VmConfig, home: KeyMaterial, handed: bytes
    ) -> Vtpm:
        """The vTPM of a VM that arrived running from another host; it continues there."""
        kept = msgspec.msgpack.decode(handed, type=_PackedVtpm)
        state = VirtualTpmState(kept.nv, kept.memory)
        taken = cls(means, config, home, state, kept.number)
        taken._found = kept.found
        return taken

    async def _command(self, label: str, work: Callable[[VirtualTpmCommands], T]) -> T:
        """Run the command; its new state is durable before the result is returned."""
        try:
            state, result = await self._means.tpms.run_command(self._state, label, work)
        except TpmError as error:
            raise GuestFault(f"{self.vm}: its virtual TPM: {error}") from None
        number = self._number + 1
        data = encrypt_nvram(self.vm, self.device.ek, state, number, self._home, self._means.rng)
        await write_file(
            self._means.datastore, self.vm, nvram_file(self.vm, self.device.serial), data
        )
        self._state, self._number = state, number
        return result


async def start_vtpm(means: VtpmMeans, config: VmConfig, home: KeyMaterial) -> Vtpm:
    """Start the vTPM of a VM that powers on.

    ``GuestFault`` when its state does not open or does not start, ``DatastoreFault`` when it cannot
    be read or written.
    """
    if config.vtpm is None:
        raise ValueError(f"{config.vm} has no virtual TPM")
    state, number = await read_state(means.datastore, config.vm, config.vtpm, home)
    made = Vtpm(means, config, home, state, number)
    await made.power_on()
    return made


async def read_state(
    datastore: Datastore, vm: VmName, device: VtpmDevice, home: KeyMaterial
) -> tuple[VirtualTpmState, int]:
    """The stored state of a vTPM, and the number of its save; faults as in ``start_vtpm``."""
    file = nvram_file(vm, device.serial)
    try:
        return decrypt_nvram(vm, device.ek, await datastore.read(vm, file), home)
    except FileNotFoundError:
        raise GuestFault(f"{vm}: {file} is gone: the state of its virtual TPM") from None
    except OSError as error:
        raise DatastoreFault(f"{vm}: {file}: {error.strerror or error}") from None
    except CryptographicFailure:
        raise GuestFault(f"{vm}: {file} is not the state of its virtual TPM") from None
