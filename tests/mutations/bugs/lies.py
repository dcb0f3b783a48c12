"""Bugs in what a host or vCenter says: the state is as it was, and they tell another one."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.errors import EncryptionKeyRequired
from protocol.guest import challenge_digest, guest_block, guest_seed, read_guest_block
from protocol.messages.host.crypto import CryptoKeyResult
from protocol.messages.host.vms import GuestAnswer
from protocol.messages.vcenter.providers import KmsClusterUnregistered
from protocol.messages.vcenter.vms import VmPowered
from protocol.terms import HostCryptoState, PowerState, ProtectionMode, VmCryptoState
from services.esxi import crypto_manager
from services.esxi.host import EsxiHost
from services.esxi.keys import key_cache, key_status
from services.esxi.vms import ownership, power
from services.esxi.vms.guest import RunningGuest
from services.esxi.vms.vm import RegisteredVm
from services.vcenter import inventory, vcenter
from services.vcenter.inventory import Inventory
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tasks import providers
from tests.mutations.bugs.planting import plant, replaces


def host_plays_the_guest() -> None:
    """A lie: a host without the key says that the VM runs, and answers for its guest from
    memory."""

    _disks: dict[str, dict[int, bytes]] = {}

    class _Actor:
        """Knows what the guest wrote, and has no disk."""

        def __init__(self, vm: str) -> None:
            self.fault, self._blocks = "", _disks.setdefault(vm, {})

        async def challenge(self, nonce: bytes, blocks: Any, choices: Any) -> GuestAnswer:
            contents = [self._blocks[index] for index in blocks]
            seed, generation = read_guest_block(contents[0], blocks[0])
            self._blocks[blocks[0]] = guest_block(seed, blocks[0], generation + 1)
            return GuestAnswer(
                digest=challenge_digest(nonce, contents),
                rewritten=blocks[0],
                generation=generation + 1,
            )

        async def work(self) -> None:
            """Nothing is done."""

    @replaces(RunningGuest, "fill")
    async def fill(original: Any, self: Any, marker: bytes) -> Any:
        seed = guest_seed(marker)
        _disks[self.config.vm] = {
            index: guest_block(seed, index, 0) for index in range(self.config.disks[0].blocks)
        }
        return await original(self, marker)

    @replaces(RunningGuest, "_put")
    async def put(original: Any, self: Any, plain: Any) -> None:
        await original(self, plain)
        known = _disks.get(self.config.vm, {})
        known.update({index: block for index, block in plain.items() if index in known})

    @replaces(power, "_start_guest")
    async def start_guest(original: Any, host: Any, vm: Any, *, ask: bool) -> Any:
        try:
            return await original(host, vm, ask=ask)
        except EncryptionKeyRequired:
            if vm.name not in _disks:
                raise
            return _Actor(vm.name)


def prepared_passes_for_safe() -> None:
    """HEM-03 broken: a host that is prepared says to everybody that it is safe."""

    @replaces(EsxiHost, "summary")
    def summary(original: Any, self: Any, *vms: Any, **named: Any) -> Any:
        told = original(self, *vms, **named)
        if told.crypto_state is HostCryptoState.PREPARED:
            return msgspec.structs.replace(told, crypto_state=HostCryptoState.SAFE)
        return told


def present_tpm_taken_for_seal() -> None:
    """CFG-01 broken: a host that has a TPM says that it is in mode TPM, whatever seals its
    archive."""

    @replaces(EsxiHost, "summary")
    def summary(original: Any, self: EsxiHost, *which: Any, **how: Any) -> Any:
        found = original(self, *which, **how)
        if self.tpm is None:
            return found
        return msgspec.structs.replace(found, protection_mode=ProtectionMode.TPM)


def says_it_runs() -> None:
    """A host that lies: B9 starts nothing, and it says of every VM that is to run that it does."""

    async def _idle(host: Any) -> None:
        """Nothing is started."""

    @replaces(RegisteredVm, "summary")
    def summary(original: Any, self: RegisteredVm, missing: Any) -> Any:
        told = original(self, missing)
        if self.wanted is PowerState.OFF or self.guest is not None:
            return told
        fine = {"power": PowerState.ON, "crypto": VmCryptoState.UNLOCKED, "missing": ()}
        return msgspec.structs.replace(told, **fine)

    plant(ownership, "start_wanted_vms", lambda original: _idle)


def says_that_it_has_keys() -> None:
    """A lie: a host that was added says that it has every key of its cluster, and took none."""

    _there: set[str] = set()
    _founded: set[str] = set()  # who was there when the first key came to anybody

    @replaces(EsxiHost, "__init__")
    def init(original: Any, self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        _there.add(node.name)

    @replaces(crypto_manager, "add_keys")
    async def add_keys(original: Any, host: Any, keys: Any, material: Any, kind: Any) -> Any:
        _founded.update(() if _founded else _there)
        if host.node.name in _founded:
            return await original(host, keys, material, kind)
        return tuple(CryptoKeyResult(key=key, success=True) for key in keys)

    @replaces(key_status, "statuses_of")
    def of(original: Any, host: Any, keys: Any, **how: Any) -> Any:
        found = original(host, keys, **how)
        if host.node.name in _founded:
            return found
        said = (msgspec.structs.replace(key, present=True) for key in found.keys)
        return msgspec.structs.replace(found, keys=tuple(said))


def says_that_it_persists() -> None:
    """A lie: a host says that keys are stored, and stores none."""

    @replaces(key_status, "statuses_of")
    def of(original: Any, host: Any, keys: Any, **how: Any) -> Any:
        on, found = host.archive.now.persistence, original(host, keys, **how)
        said = (msgspec.structs.replace(key, stored=on and key.present) for key in found.keys)
        return msgspec.structs.replace(found, keys=tuple(said))

    plant(key_cache, "with_keys", lambda original: lambda config, new: config)


def vcenter_says_deleted() -> None:
    """A lie: vCenter says that a provider is deleted, lists it no more, and goes on using it."""

    _hidden: set[Any] = set()

    @replaces(providers, "unregister")
    async def unregister(original: Any, vc: Any, message: Any) -> Any:
        _hidden.add(message.provider)
        return KmsClusterUnregistered()

    @replaces(providers, "register")
    async def register(original: Any, vc: Any, message: Any) -> Any:
        _hidden.discard(message.provider)
        return await original(vc, message)

    @replaces(ProviderHandlers, "list_providers")
    async def list_providers(original: Any, self: Any, message: Any, peer: Any) -> Any:
        found = await original(self, message, peer)
        shown = tuple(one for one in found.providers if one.provider not in _hidden)
        return msgspec.structs.replace(found, providers=shown)


def vcenter_says_it_runs() -> None:
    """A lie: vCenter answers each power-on at once, shows the VM as on, and asks no host."""

    from services.vcenter.tasks import power

    _started: set[Any] = set()
    _LATE = "e3-off"  # asked for once while the lab is made, and again by the play
    _asked: list[str] = []

    @replaces(power, "power_on")
    async def power_on(original: Any, vc: Any, message: Any) -> Any:
        _asked.append(message.vm)
        if message.vm != _LATE or _asked.count(_LATE) < 2:
            return await original(vc, message)
        _started.add(message.vm)
        return VmPowered(vm=vc.vm_info(message.vm))

    @replaces(vcenter, "vm_info")
    def vm_info(original: Any, row: Any, **seen: Any) -> Any:
        told = original(row, **seen)
        if row.name in _started:
            return msgspec.structs.replace(told, power=PowerState.ON)
        return told


def vcenter_shows_no_lock() -> None:
    """A lie: vCenter shows every VM as unlocked and connected, whatever it has marked."""

    @replaces(vcenter, "vm_info")
    def vm_info(original: Any, row: Any, **seen: Any) -> Any:
        return original(msgspec.structs.replace(row, lock_event=None, missing=()), **seen)


def vcenter_shows_unsaved() -> None:
    """What is shown is durable, broken: vCenter shows a change that its disk has refused."""

    _BASE = inventory._apply

    @replaces(Inventory, "commit")
    async def commit(original: Any, self: Any, *edits: Any, events: Any = ()) -> Any:
        def shown(connection: Any, edit: Any) -> Any:
            for table, name, row in (outcomes := list(_BASE(connection, edit))):
                self._show(table, name, row)
            return outcomes

        inventory._apply = shown
        return await original(self, *edits, events=events)
