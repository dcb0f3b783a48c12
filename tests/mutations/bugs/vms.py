"""Bugs of a host: VMs, their locks, their disks and their power."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol.crypto.wrap import NONCE_SIZE, TAG_SIZE
from protocol.errors import CryptographicFailure, EncryptionKeyRequired, InvalidState
from protocol.secret import KeyMaterial
from protocol.terms import HostCryptoState, PowerState, VmConnectionState
from services.esxi.providers import native
from services.esxi.vms import file_formats, files, power, reconfigure, registration
from services.esxi.vms.file_formats import PowerRecord
from services.esxi.vms.files import take_lock, write_config
from services.esxi.vms.vm import RegisteredVm
from services.runtime.request_queues import Ticket, TurnQueues
from services.vcenter import client_info
from tests.mutations.bugs.planting import plant, replaces


def destroyed_while_locked() -> None:
    """The host broken: a VM's files change without its lock, also while it runs elsewhere."""

    def _unlocked(_: Any) -> Any:
        @asynccontextmanager
        async def locked(datastore: Any, vm: Any) -> AsyncIterator[None]:
            yield

        return locked

    plant(registration, "hold_lock", _unlocked)


def disk_key_makes_invalid() -> None:
    """LOCK-03 broken: a VM whose disk lacks its key shows as invalid, as if it were its home's."""

    @replaces(RegisteredVm, "_summary")
    def summary(original: Any, self: Any, missing: Any) -> Any:
        found = original(self, missing)
        if not found.missing:
            return found
        return msgspec.structs.replace(found, connection=VmConnectionState.INVALID)

    plant(client_info, "shows_invalid", lambda original: lambda keys, event, missing: bool(missing))


def disk_under_the_wrong_kek() -> None:
    """KEY-04 broken: a disk that is to have a key of its own is wrapped under that of the home."""

    @replaces(reconfigure, "usable_kek")
    def usable_kek(original: Any, host: Any, vm: Any, key: Any) -> Any:
        return original(host, vm, host.vms[vm].config.home.key)


def disk_without_key_taken_away() -> None:
    """LOCK-03 broken: a disk whose key is missing is taken away, and the VM starts without it."""

    @replaces(power, "_start_guest")
    async def start_guest(original: Any, host: Any, vm: Any, *, ask: bool) -> Any:
        try:
            return await original(host, vm, ask=ask)
        except EncryptionKeyRequired as error:
            config = vm.config
            left = tuple(d for d in config.disks if d.dek is None or d.dek.key not in error.keys)
            if config.home.key in error.keys or left == config.disks:
                raise
            await write_config(host.datastore, msgspec.structs.replace(config, disks=left))
            return await original(host, vm, ask=ask)


def lock_kept_after_failed_start() -> None:
    """The host broken: a VM whose start failed stays locked on the datastore, as long as this host
    lives."""

    @asynccontextmanager
    async def _kept(datastore: Any, vm: Any) -> AsyncIterator[None]:
        await take_lock(datastore, vm)
        try:
            yield
        except BaseException:
            _keep(datastore, vm)
            raise

    def _keep(datastore: Any, vm: Any) -> None:
        original = datastore.unlock

        async def unlock(name: Any) -> None:
            if name != vm:
                await original(name)

        datastore.unlock = unlock

    plant(power, "lock_and_keep", lambda original: _kept)


def power_off_forgotten() -> None:
    """B9 broken: a power-off is carried out, and not remembered for the next boot."""

    @replaces(power, "write_power")
    async def write_power(original: Any, datastore: Any, vm: Any, record: PowerRecord) -> None:
        if record.wanted is PowerState.ON:
            await original(datastore, vm, record)


def power_turn_gone() -> None:
    """The host broken: commands about one VM do not wait for each other."""

    @replaces(TurnQueues, "take")
    def take(original: Any, self: TurnQueues, key: str) -> Ticket:
        ticket: Ticket = original(self, key)
        if key.startswith("vm"):
            ticket.wake_holder()
        return ticket


def reference_without_id_derived() -> None:
    """SC-39 broken: a host derives a key for a native reference that has no key id."""

    @replaces(reconfigure, "usable_kek")
    def usable_kek(original: Any, host: Any, vm: Any, key: Any) -> Any:
        return original(host, vm, key) if key.key_id else native.bring_key(host, key)


def unsafe_host_starts_nothing() -> None:
    """BOOT-01 broken: a host that is not safe starts no VM, encrypted or not."""

    @replaces(power, "_start_guest")
    async def start_guest(original: Any, host: Any, vm: Any, *, ask: bool) -> Any:
        if host.mode is not HostCryptoState.SAFE:
            raise InvalidState(f"{host.node.name} is {host.mode.value}, and starts no VM")
        return await original(host, vm, ask=ask)


def vm_lock_ignored() -> None:
    """HA-01 broken: a VM is started whoever holds its lock, so two hosts may run one VM."""

    @replaces(files, "take_lock")
    async def take_lock(original: Any, datastore: Any, vm: Any) -> None:
        return


def wrapped_dek_bound_to_nothing() -> None:
    """The host broken: a wrapped DEK is bound to neither its VM nor its use there."""

    plant(file_formats, "_aad", lambda original: lambda vm, use: b"")


def wrapped_dek_tag_unchecked() -> None:
    """NKP-18 broken: a wrapped DEK opens under any KEK, to whatever comes of it (KEY-01)."""

    @replaces(file_formats, "unwrap")
    def unwrap(original: Any, kek: KeyMaterial, wrapped: bytes, aad: bytes) -> KeyMaterial:
        try:
            found: KeyMaterial = original(kek, wrapped, aad)
            return found
        except CryptographicFailure:
            counter = wrapped[:NONCE_SIZE] + (2).to_bytes(4, "big")
            cipher = Cipher(algorithms.AES(kek.reveal()), modes.CTR(counter)).decryptor()
            return KeyMaterial(cipher.update(wrapped[NONCE_SIZE:-TAG_SIZE]))
