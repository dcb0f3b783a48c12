"""Bugs of vCenter: tasks, providers and privileges."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.authorization import Privilege
from protocol.errors import ProductError
from protocol.messages.host.vms import HostCreateVm
from protocol.messages.vcenter.vms import RecryptVm
from protocol.terms import KeyUnavailableReason, ManagementType, ProviderId
from services.vcenter import provider_handlers
from services.vcenter.authorization.privileges import TaskCaller
from services.vcenter.providers import capabilities
from services.vcenter.providers.registry import KeyBundle, ProviderRegistry
from services.vcenter.providers.stored_secrets import Symkey
from services.vcenter.tasks import clone, keys, providers, vm_lifecycle
from tests.mutations.bugs.planting import plant, replaces


def every_provider_is_standard() -> None:
    """TA-06 broken: vCenter makes keys of every provider itself, whatever its management type."""

    @replaces(ProviderRegistry, "capability")
    def capability(original: Any, self: Any, provider: Any) -> Any:
        return capabilities.CAPABILITIES[ManagementType.VCENTER]


def eviction_at_once() -> None:
    """C4 broken: keys of a deleted provider leave the hosts without any grace, with its
    deletion."""

    @replaces(providers, "DeletedRow")
    def made(original: Any, **fields: Any) -> Any:
        return msgspec.structs.replace(original(**fields), at=-1e9)

    @replaces(providers, "unregister")
    async def unregister(original: Any, vc: Any, message: Any) -> Any:
        done = await original(vc, message)
        for host in vc.inventory.hosts:
            vc.passes.want(host, removing=True)
        return done


def failed_create_leaves_a_vm() -> None:
    """KEY-02 broken: a VM that could not be created encrypted is left on its host, in clear."""

    @replaces(vm_lifecycle, "give_key_of_new_vm")
    async def give_key_of_new_vm(
        original: Any, vc: Any, session: Any, operation: Any, **how: Any
    ) -> Any:
        try:
            return await original(vc, session, operation, **how)
        except ProductError:
            await session.command_vm(HostCreateVm(vm=operation.subject))
            raise


def forced_removal_forgets_nothing() -> None:
    """SC-16 broken: a key that is removed by force leaves the hosts, and vCenter goes on knowing
    it."""

    @replaces(keys, "note_key")
    def note_key(original: Any, key: Any, *, forgotten: bool = False, **how: Any) -> Any:
        return original(key, **{**how, "listed": True}, forgotten=False)


def invalid_vm_cloned() -> None:
    """LOCK-02 broken: tasks are done on a VM that is locked and invalid."""

    async def _check_nothing(*_: Any, **__: Any) -> None:
        """In the place of ``check_valid``."""

    plant(provider_handlers, "check_valid", lambda original: _check_nothing)
    plant(clone, "check_valid", lambda original: _check_nothing)


def keys_fetched_for_anybody() -> None:
    """REG-01 broken: keys of a VM that is registered are fetched, whoever registers it."""

    @replaces(TaskCaller, "check")
    def check(original: Any, self: TaskCaller, needed: Any, task: str) -> None:
        original(self, [one for one in needed if one is not Privilege.REGISTER_VM], task)


def old_vcenter_generates_native_keys() -> None:
    """SC-40 broken: a vCenter before 8.0 U1 generates keys of native providers."""

    plant(keys, "_generates_derived", lambda original: lambda vc: None)


def provider_by_address() -> None:
    """LOCK-06 broken: a provider that is added again at another address is another one."""

    _first: dict[ProviderId, tuple[Any, ...]] = {}
    _other: set[ProviderId] = set()
    _REASON = KeyUnavailableReason.CLUSTER_INVALID

    @replaces(providers, "register")
    async def register(original: Any, vc: Any, message: Any) -> Any:
        if _first.setdefault(message.provider, message.servers) != message.servers:
            _other.add(message.provider)
        return await original(vc, message)

    @replaces(ProviderRegistry, "fetch")
    async def fetch(original: Any, self: Any, name: Any, keys: Any, *, fresh: bool) -> Any:
        if name in _other:
            return KeyBundle((), dict.fromkeys(keys, _REASON))
        return await original(self, name, keys, fresh=fresh)


def provider_by_number() -> None:
    """KEY-01 broken: a provider is a number that it gets when it is made, not its name."""

    _gone: set[ProviderId] = set()
    _REASON = KeyUnavailableReason.CLUSTER_INVALID

    @replaces(providers, "unregister")
    async def unregister(original: Any, vc: Any, message: Any) -> Any:
        done = await original(vc, message)
        _gone.add(message.provider)
        return done

    @replaces(ProviderRegistry, "fetch")
    async def fetch(original: Any, self: Any, name: Any, keys: Any, *, fresh: bool) -> Any:
        if name in _gone:
            return KeyBundle((), dict.fromkeys(keys, _REASON))
        return await original(self, name, keys, fresh=fresh)


def providers_uncounted() -> None:
    """NKP-02 broken: vCenter takes any number of key providers."""

    for module in (providers, providers):
        plant(module, "check_room", lambda original: lambda vc: None)


def symkey_unsynced() -> None:
    """The key of vCenter that an earlier life has left unsynced is used as if it were durable."""

    @replaces(Symkey, "_durable_key")
    async def wrapping_key(original: Any, self: Any) -> Any:
        self._owed = None
        return await original(self)


def task_not_asked() -> None:
    """One task is begun whoever gives it: of its privileges nobody is asked."""

    @replaces(provider_handlers, "privileges_for")
    def needed(original: Any, message: Any, vms: Any) -> Any:
        return () if isinstance(message, RecryptVm) else original(message, vms)


def unused_keys_stay() -> None:
    """STD-17 broken: the key of a VM that was taken out stays on every host."""

    plant(vm_lifecycle, "release_keys", lambda original: lambda keys, hosts: ())
