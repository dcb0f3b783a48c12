"""Bugs of guests and of virtual TPMs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from protocol.crypto.disk import DiskCipher
from protocol.messages.host.vms import TpmProvisionPolicy
from services.esxi.vms import clone, file_formats, snapshots
from services.esxi.vms.file_formats import encrypt_nvram, nvram_file
from services.esxi.vms.files import write_file
from services.esxi.vms.guest import RunningGuest
from services.esxi.vms.vtpm import Vtpm
from services.runtime.tpm.virtual import VirtualTpmPool
from tests.mutations.bugs.planting import plant, replaces


def guest_answers_from_memory() -> None:
    """Guests broken: a block that was read once is never read from the datastore again."""

    @replaces(RunningGuest, "__init__")
    def init(original: Any, self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.memory = {}

    @replaces(RunningGuest, "contents")
    async def contents(original: Any, self: Any, blocks: Sequence[int]) -> list[bytes]:
        unknown = [index for index in blocks if index not in self.memory]
        self.memory.update(zip(unknown, await original(self, unknown), strict=True))
        return [self.memory[index] for index in blocks]

    @replaces(RunningGuest, "_write")
    async def write(original: Any, self: Any, plain: Mapping[int, bytes]) -> Any:
        stored = await original(self, plain)
        self.memory.update(plain)
        return stored


def guest_disk_in_clear() -> None:
    """Encryption broken: guests write their blocks as they are."""

    plant(DiskCipher, "encrypt", lambda original: lambda self, index, plain: plain)
    plant(DiskCipher, "decrypt", lambda original: lambda self, index, stored: stored)


def replaced_vtpm_is_a_copy() -> None:
    """VTPM-07 broken: the virtual TPM of a clone that is to have its own is that of its source,
    with all that is sealed in it."""

    @replaces(clone, "_read_source")
    async def taken(original: Any, host: Any, message: Any) -> Any:
        return await original(host, msgspec.structs.replace(message, tpm=TpmProvisionPolicy.COPY))


def reverted_without_its_vtpm() -> None:
    """A snapshot broken: a VM that goes back keeps the state that its virtual TPM has now."""

    def _made_of_disks_only(original: Any) -> Any:
        return lambda config, kept: original(config, msgspec.structs.replace(kept, vtpm=0))

    @replaces(snapshots, "_switch_files")
    async def switch(
        original: Any, host: Any, config: Any, kept: Any, made: Any, guest: Any
    ) -> None:
        await original(host, config, msgspec.structs.replace(kept, vtpm=0), made, guest)

    plant(snapshots, "_config_of", _made_of_disks_only)


def vtpm_bound_to_nothing() -> None:
    """The state of a vTPM is bound to nothing: a copy of it is as good for another VM."""

    @replaces(file_formats, "_aad")
    def aad(original: Any, vm: Any, ek: bytes, number: int) -> bytes:
        return b"keystead vtpm"


def vtpm_instance_shared() -> None:
    """An instance of the pool goes on with the vTPM that it had before, whoever commands now."""

    @replaces(VirtualTpmPool, "run_command")
    def command(original: Any, self: Any, state: Any, work: Any) -> Any:
        mine = self.__dict__.get("left") if state.memory else None
        after, result = original(self, mine or state, work)
        self.left = after
        return after, result


def vtpm_saved_after_answer() -> None:
    """What a guest has been answered of its vTPM is not on the datastore yet: the save comes
    later."""

    @replaces(Vtpm, "_command")
    async def command(original: Any, self: Any, label: str, work: Any) -> Any:
        if owed := self.__dict__.pop("owed", None):
            await write_file(self._means.datastore, *owed)
        state, result = await self._means.tpms.run_command(self._state, label, work)
        self._number += 1
        file = nvram_file(self.vm, self.device.serial)
        home, rng = self._home, self._means.rng
        data = encrypt_nvram(self.vm, self.device.ek, state, self._number, home, rng)
        self._state, self.owed = state, (self.vm, file, data)
        return result
