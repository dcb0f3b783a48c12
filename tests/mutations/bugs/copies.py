"""Bugs of recrypts, clones, snapshots and dumps."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import msgspec

from protocol.secret import KeyMaterial
from services.esxi import dumps
from services.esxi.vms import clone, file_formats, reconfigure, snapshots
from services.esxi.vms import reconfigure as at_host
from services.esxi.vms.file_formats import WrappedDek
from services.esxi.vms.guest import PAGES, SECRET_SIZE, Ram
from services.vcenter.tasks import reconfigure as at_vcenter
from tests.mutations.bugs.planting import plant, replaces


def clone_keeps_the_old_keys() -> None:
    """CLN-01 broken: a clone that is to have new keys has those of its source."""

    @replaces(clone, "_rewrap_clone")
    async def under_a_new_key(original: Any, host: Any, message: Any, made: Any, keys: Any) -> Any:
        return made, keys


def clone_of_no_instant() -> None:
    """A clone broken: the disks of a VM that runs are read while its guest writes them."""

    plant(clone, "queue_of", lambda original: lambda vm: f"nobody/{vm}")


def deep_recrypt_is_shallow() -> None:
    """REK-02 broken: a deep recrypt of a VM that runs is answered as done, and was a shallow
    one."""

    @replaces(at_vcenter, "_check")
    def check(original: Any, row: Any, *, deep: bool) -> None:
        original(row, deep=False)

    @replaces(at_host, "recrypt_vm")
    async def recrypt(original: Any, host: Any, message: Any) -> Any:
        runs = host.require_vm(message.vm).guest is not None
        deep = message.deep and not runs
        return await original(host, msgspec.structs.replace(message, deep=deep))


def dump_left_under_the_old_key() -> None:
    """REK-06 broken: a new host key leaves the dumps of the old one behind, under that one."""

    @replaces(dumps, "rewrap_dumps")
    async def take_along(original: Any, *how: Any) -> None:
        """Nothing is done."""


def half_recrypt_done() -> None:
    """REK-04 broken: a recrypt wraps the home's DEK anew, and says that all of them are."""

    @replaces(reconfigure, "rewrap_config")
    def rewrapped_config(
        original: Any, config: Any, opened: Any, key: Any, kek: Any, rng: Any, only: Any
    ) -> Any:
        made = original(config, opened, key, kek, rng, only)
        disks = tuple(
            msgspec.structs.replace(disk, dek=disk.dek and WrappedDek(key, disk.dek.wrapped))
            for disk in config.disks
        )
        return msgspec.structs.replace(made, disks=disks)


def memory_in_clear() -> None:
    """VTPM-08 broken: the memory that a snapshot keeps of an encrypted VM lies in clear."""

    @replaces(file_formats, "pack_vmem")
    def kept(
        original: Any, vm: Any, snapshot: Any, number: Any, memory: Any, home: Any, rng: Any
    ) -> Any:
        return original(vm, snapshot, number, memory, None, rng)

    @replaces(file_formats, "unpack_vmem")
    def found(original: Any, vm: Any, snapshot: Any, number: Any, data: Any, home: Any) -> Any:
        return original(vm, snapshot, number, data, None)


def memory_under_what_changes() -> None:
    """REK-01 broken: the memory of a snapshot is under a key that a shallow recrypt changes."""

    def _of_now(config: Any) -> Any:
        return config.home and KeyMaterial(hashlib.sha256(config.home.wrapped).digest())

    @replaces(snapshots, "unwrap_home")
    async def home_of(original: Any, host: Any, config: Any) -> Any:
        await original(host, config)
        return _of_now(config)

    class _Keys(msgspec.Struct):
        home: Any

    @replaces(snapshots, "_read_memory")
    async def memory(original: Any, host: Any, config: Any, kept: Any, keys: Any) -> Any:
        return await original(host, config, kept, _Keys(_of_now(config)))


def recrypt_of_one_provider() -> None:
    """REK-01 broken: a recrypt takes its new key from the provider of the old one, whoever is
    named."""

    from services.vcenter.tasks import reconfigure

    @replaces(reconfigure, "recrypt_vm")
    async def recrypt_vm(original: Any, vc: Any, message: Any, *rest: Any) -> Any:
        provider = vc.vm(message.vm).keys[0].provider_id
        return await original(vc, msgspec.structs.replace(message, provider=provider), *rest)


def recrypt_unwritten() -> None:
    """REK-01 broken: a recrypt is answered, and the VM's configuration is never written."""
    recrypting: set[object] = set()

    @replaces(reconfigure, "_recrypt_locked")
    async def recrypt(original: Any, *arguments: Any) -> None:
        task = asyncio.current_task()
        recrypting.add(task)
        try:
            await original(*arguments)
        finally:
            recrypting.discard(task)

    @replaces(reconfigure, "write_config")
    async def write_config(original: Any, *arguments: Any) -> None:
        if asyncio.current_task() not in recrypting:
            await original(*arguments)


def revert_stops_first() -> None:
    """A revert broken: a VM that runs is stopped before anybody knows that it can go back."""

    @replaces(snapshots, "_resume_guest")
    async def resumed(original: Any, host: Any, vm: Any, config: Any, kept: Any) -> None:
        vm.guest = None
        await original(host, vm, config, kept)


def reverted_without_its_memory() -> None:
    """VTPM-08 broken: a VM that goes back to run is started anew, from its disks alone."""

    @replaces(snapshots, "_read_memory")
    async def memory(original: Any, host: Any, config: Any, kept: Any, keys: Any) -> Any:
        found = await original(host, config, kept, keys)
        ram = Ram(host.rng.token(SECRET_SIZE), secrecy=bool(config.keys))
        for _ in range(PAGES):
            ram.write()
        return msgspec.structs.replace(found, pages=ram.pages, writes=ram.writes)


def snapshots_in_the_way() -> None:
    """REK-02 broken: a deep recrypt gives disks other DEKs while a snapshot needs those of
    before."""

    plant(reconfigure, "check_no_snapshots", lambda original: lambda config, what: None)
