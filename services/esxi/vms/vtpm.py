"""The virtual TPM of a running VM: each command of its guest is durable before it is answered.

The state is in memory while the VM runs (VTPM-05); ``<vm>.nvram`` has what outlives a power cut. A
command works on a copy: the new state is written first, then it replaces the one in memory, then
the guest gets the result. A command whose state cannot be saved has not happened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec

from protocol.errors import CryptographicFailure, DatastoreFault, GuestFault
from protocol.guest_tpm import SECRET_SIZE, TpmAnswer
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import PublicArea
from services.esxi.vms import vtpm_commands as guest
from services.esxi.vms.files import write_file
from services.esxi.vms.nvram import decrypt_nvram, encrypt_nvram, nvram_file
from services.esxi.vms.vmx import VmConfig, VtpmDevice
from services.runtime.ports import Datastore, Rng
from services.runtime.virtual_tpm import VirtualTpmCommands, VirtualTpms, VirtualTpmState

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
        self._found = await self._command("vtpm.power_on", partial(guest.power_on, secret=secret))

    async def seal(self, secret: KeyMaterial) -> tuple[PublicArea, int]:
        """Seal ``secret`` in place of an earlier one; returns the attestation key, and the
        counter."""
        sealed = await self._command("vtpm.seal", partial(guest.seal, secret=secret.reveal()))
        self._found = guest.digest_of(secret.reveal())
        return sealed

    async def challenge(self, nonce: bytes) -> TpmAnswer:
        """See ``protocol.guest_tpm``."""
        return await self._command("vtpm.challenge", partial(guest.challenge, nonce=nonce))

    async def work(self) -> None:
        """One step of the guest's own work: unseal, or measure and quote, or count, in turn."""
        step = self._steps = self._steps + 1
        match step % _WORKS:
            case 0:
                await self._command("vtpm.count", guest.count)
            case 1:
                found = await self._command("vtpm.unseal", guest.digest_of_secret)
                if found != self._found:
                    raise GuestFault(f"{self.vm}: its virtual TPM unseals another secret")
            case _:
                await self._command("vtpm.quote", partial(guest.measure_and_quote, step=step))

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
