"""QueryCryptoKeyStatus (STD-20): really asks the provider, and lists who uses each key.

A provider whose keys vCenter does not manage is not asked: each of its keys has the reason that
says who does. Each key is answered for on its own.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocol.messages.vcenter import (
    CryptoKeyStatus,
    CryptoKeyStatusList,
    QueryCryptoKeyStatus,
)
from protocol.terms import (
    CryptoKeyId,
    KeyId,
    KeyUnavailableReason,
    NodeName,
    ProviderId,
)
from services.vcenter.inventory import Inventory
from services.vcenter.vcenter import VCenter


async def query_key_status(vc: VCenter, message: QueryCryptoKeyStatus) -> CryptoKeyStatusList:
    """One entry per key asked, in that order; all known keys when none are named."""
    keys = message.keys or known_keys(vc.inventory)
    answers: dict[CryptoKeyId, KeyUnavailableReason | None] = {}
    for provider in dict.fromkeys(key.provider_id for key in keys):
        ids = [key.key_id for key in keys if key.provider_id == provider]
        found = await _ask(vc, provider, ids)
        answers.update({CryptoKeyId(key_id, provider): why for key_id, why in found.items()})
    return CryptoKeyStatusList(keys=tuple(_entry(vc.inventory, key, answers[key]) for key in keys))


def known_keys(inventory: Inventory) -> tuple[CryptoKeyId, ...]:
    """Keys of VMs and host keys, each once."""
    found: dict[CryptoKeyId, None] = {}
    for vm in inventory.vms.values():
        found.update(dict.fromkeys(vm.keys))
    for cluster in inventory.clusters.values():
        if cluster.host_key is not None:
            found[cluster.host_key] = None
    for host in inventory.hosts.values():
        if host.host_key is not None:
            found[host.host_key] = None
    return tuple(found)


async def _ask(
    vc: VCenter, provider: ProviderId, ids: list[KeyId]
) -> Mapping[KeyId, KeyUnavailableReason | None]:
    """By who answers for keys of that provider: the provider itself, or the table alone."""
    fixed = vc.providers.capability(provider).fixed_status
    if fixed is not None:
        return dict.fromkeys(ids, fixed)
    return await vc.providers.asked(provider).status(ids)


def _entry(
    inventory: Inventory, key: CryptoKeyId, reason: KeyUnavailableReason | None
) -> CryptoKeyStatus:
    users = [vm for vm in inventory.vms.values() if key in vm.keys]
    hosts: dict[NodeName, None] = dict.fromkeys(vm.host for vm in users)
    for host in inventory.hosts.values():
        cluster = inventory.clusters.get(host.cluster)
        if key in (host.host_key, None if cluster is None else cluster.host_key):
            hosts[host.name] = None
    return CryptoKeyStatus(
        key=key,
        available=reason is None,
        reason=reason,
        encrypted_vms=tuple(vm.name for vm in users),
        affected_hosts=tuple(hosts),
    )
