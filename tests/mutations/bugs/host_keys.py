"""Bugs of a host: its key cache, its persisted store and what it tells of them."""

from __future__ import annotations

from typing import Any

from protocol.errors import EncryptionKeyRequired
from protocol.messages.base import Sealed
from protocol.messages.host.session import HostSummary
from protocol.terms import KmipState
from services.esxi import crypto_manager
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.host import EsxiHost
from services.esxi.keys import key_cache, vm_keys
from services.esxi.keys.key_cache import KeyCache
from services.kms.operations import execution
from services.runtime.request_queues import Ticket, TurnQueues
from tests.mutations.bugs.planting import plant, replaces


def cache_survives_reboot() -> None:
    """STD-13 broken: a host finds its key cache, with its keys in it, after a reboot."""

    _caches: dict[str, KeyCache] = {}

    @replaces(EsxiHost, "__init__")
    def init(original: Any, self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        self.keys = _caches.setdefault(str(node.name), self.keys)
        self.keys.announce()  # an event of the present loop and life


def destruction_reaches_hosts() -> None:
    """KP-09 broken: a key that is destroyed at its key server leaves hosts, their stores too."""

    _hosts: list[Any] = []
    _DEAD = (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED)

    @replaces(EsxiHost, "__init__")
    def init(original: Any, self: Any, node: Any, ports: Any, config: Any) -> None:
        original(self, node, ports, config)
        _hosts.append(self)

    @replaces(execution, "_transition")
    def moved(original: Any, work: Any, request: Any, transition: Any, row: Any) -> Any:
        after = original(work, request, transition, row)
        if after.state in _DEAD:
            for host in _hosts:
                _drop(host, row.key_id)
        return after

    def _drop(host: Any, key_id: Any) -> None:
        for key in [key for key in host.keys.ids() if key.key_id == key_id]:
            host.keys.remove(key)
            host.archive.now = key_cache.without_keys(host.archive.now, (key,))


def enabled_without_tpm() -> None:
    """KP-01 broken: key persistence can be enabled on a host without TPM."""

    plant(key_cache, "enable_refusal", lambda original: lambda **facts: None)


def eviction_leaves_the_store() -> None:
    """DEL-02 broken: keys of a deleted provider leave a host, and stay in its store."""

    @replaces(crypto_manager, "evict_provider")
    async def evict(original: Any, host: Any, provider: Any) -> Any:
        cached = [key for key in host.keys.ids() if key.provider_id == provider]
        for key in cached:
            host.keys.remove(key)
        return len(cached), 0


def eviction_stops_guests() -> None:
    """LOCK-04 broken: a VM that runs loses its DEK when the keys of its provider leave."""

    @replaces(crypto_manager, "evict_provider")
    async def evict(original: Any, host: Any, provider: Any) -> Any:
        left = await original(host, provider)
        for vm in host.running():
            if any(key.provider_id == provider for key in vm.config.keys):
                vm.guest.fault = "its key left the host"
        return left


def first_key_decides() -> None:
    """Resolving broken: the first missing key of a VM decides whether vCenter is asked for any."""

    @replaces(vm_keys, "_select_by_means")
    def by_means(original: Any, host: Any, keys: Any, means: Any, *, ask: bool) -> Any:
        lacking = tuple(key for key in keys if key not in host.keys)
        return lacking if original(host, lacking[:1], means, ask=ask) else ()


def keystore_queue_gone() -> None:
    """The host broken: commands about keys do not wait for each other."""

    @replaces(TurnQueues, "take")
    def take(original: Any, self: TurnQueues, key: str) -> Ticket:
        if key != "keystore":
            ticket: Ticket = original(self, key)
            return ticket
        ticket = Ticket(self, key)
        ticket.wake_holder()
        return ticket


def materials_swapped() -> None:
    """Keys broken: of several keys in one message a host puts each value under the id of the
    next."""

    @replaces(crypto_manager, "add_keys")
    async def add_keys(original: Any, host: Any, keys: Any, material: Any, kind: Any) -> Any:
        values = material.keys
        return await original(host, keys, Sealed.of(*values[1:], *values[:1]), kind)


def persisted_at_a_stop_only() -> None:
    """KP-02 broken: keys are persisted when the host is stopped, not before."""

    plant(EsxiHost, "key_sections", lambda original: lambda self: ConfigurationSection.NOTHING)


def power_on_asks_vcenter() -> None:
    """KEY-05 broken: a key in the cache serves only while vCenter could be asked for it."""

    @replaces(vm_keys, "bring_keys")
    async def bring(original: Any, host: Any, keys: Any, *, subject: str, ask: bool) -> None:
        if not host.uplink.connected:
            raise EncryptionKeyRequired(f"{subject}: vCenter cannot be asked", keys)
        await original(host, keys, subject=subject, ask=ask)


def reconnect_evicts() -> None:
    """KP-17 broken: a host that connects drops keys of providers that are not listed."""

    @replaces(crypto_manager, "set_providers")
    async def set_providers(original: Any, host: Any, providers: Any, given: Any) -> None:
        await original(host, providers, given)
        listed = {provider.provider_id for provider in providers}
        here = {key.provider_id for key in host.keys.ids()} - listed
        for provider in sorted(here):
            await crypto_manager.evict_provider(host, provider)


def removal_ignored() -> None:
    """KP-03 broken: persistence is disabled, and the flag that removes all stored keys is not
    heard."""

    @replaces(key_cache, "disable_persistence")
    def disabled(original: Any, config: Any, *, remove_all: bool, disable_keeps_store: bool) -> Any:
        return original(config, remove_all=False, disable_keeps_store=disable_keeps_store)


def store_keeps_removed() -> None:
    """``store_follows_cache`` broken: a key that is removed stays in the persisted store."""

    plant(key_cache, "without_keys", lambda original: lambda config, keys: _same(config))

    def _same(config: Any) -> Any:
        return config


def store_written_once() -> None:
    """KP-09 broken: a host stores the keys of its first boot, and none that come in a later one."""

    @replaces(EsxiHost, "storable")
    def storable(original: Any, self: EsxiHost, entries: Any) -> Any:
        return original(self, entries if self.node.boot == 1 else ())


def stored_without_tpm() -> None:
    """KP-06 broken: a host with key persistence on stores keys though no TPM seals them."""

    plant(EsxiHost, "sealed_by_tpm", lambda original: property(lambda self: True))


def version_not_raised() -> None:
    """A host's view has the version of the first one for ever, whatever changes in it."""

    @replaces(EsxiHost, "view")
    def view(original: Any, self: Any) -> HostSummary:
        found: HostSummary = original(self)
        self._views = 1
        return found


def version_without_life() -> None:
    """A host counts its views from 1 in each life, and a version does not tell of which life it
    is."""

    def _bare(original: Any) -> Any:
        return property(lambda self: str(self._views))

    plant(EsxiHost, "version", _bare)
