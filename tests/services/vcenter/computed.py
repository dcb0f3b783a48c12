"""What the inventory answers, computed from all of its rows: an index must say the same."""

from __future__ import annotations

from collections.abc import Iterable

from protocol.terms import ClusterName, CryptoKeyId, KeyId, NodeName, PowerState, ProviderId
from services.vcenter.inventory import Inventory
from services.vcenter.key_use import hosts_of, vms_of

NOWHERE = (
    ClusterName("no-cluster"),
    NodeName("no-host"),
    CryptoKeyId(KeyId("no-key"), ProviderId("no-provider")),
)


def _once(keys: Iterable[CryptoKeyId | None]) -> list[CryptoKeyId]:
    return [key for key in dict.fromkeys(keys) if key is not None]


def check_index(inventory: Inventory) -> None:
    """Every answer of ``inventory`` that an index gives, against the rows."""
    clusters, hosts = list(inventory.clusters.values()), list(inventory.hosts.values())
    vms, rows = list(inventory.vms.values()), list(inventory.keys.values())
    index = inventory.index
    for names, view in (
        (index.clusters, inventory.clusters),
        (index.hosts, inventory.hosts),
        (index.vms, inventory.vms),
        (index.providers, inventory.providers),
    ):
        assert list(names) == sorted(view)
    types = {row.name: row.management_type for row in inventory.providers.values()}
    assert list(inventory.management_types().items()) == list(types.items())
    _check_clusters(inventory)
    for host in {*inventory.hosts, *(vm.host for vm in vms), NOWHERE[1]}:
        assert inventory.vms_on(host) == [vm for vm in vms if vm.host == host]
        assert index.vms_on.count(host) == sum(vm.host == host for vm in vms)
        running = [vm.name for vm in vms if vm.host == host and vm.power is PowerState.ON]
        assert index.running_on.names(host) == running
        waiting = tuple(row.key for row in inventory.released.values() if host in row.hosts)
        assert inventory.keys_released_on(host) == waiting
    used = _once(
        [
            *(key for vm in vms for key in vm.keys),
            *(row.host_key for row in clusters),
            *(row.host_key for row in hosts),
        ]
    )
    forgotten = {row.key for row in rows if row.forgotten}
    known = {*used, *(row.key for row in rows if row.listed)} - forgotten
    assert list(index.known_keys) == sorted(known)
    assert index.forgotten == forgotten
    for provider in {key.provider_id for key in (*used, *known, NOWHERE[2])}:
        assert index.keys_in_use(provider) == tuple(
            sorted(k for k in used if k.provider_id == provider)
        )
    for key in {*used, *known, *forgotten, NOWHERE[2]}:
        assert (key in index.known_keys) == (key in known)
        assert vms_of(inventory, key) == tuple(vm.name for vm in vms if key in vm.keys)
        shared = {row.name: row.host_key for row in clusters}
        under = [h.name for h in hosts if key == (h.host_key or shared.get(h.cluster))]
        assert hosts_of(inventory, key) == tuple(under)


def _check_clusters(inventory: Inventory) -> None:
    vms = list(inventory.vms.values())
    for cluster in {*inventory.clusters, *(vm.cluster for vm in vms), NOWHERE[0]}:
        here = [vm for vm in vms if vm.cluster == cluster]
        assert inventory.hosts_of(cluster) == [
            row for row in inventory.hosts.values() if row.cluster == cluster
        ]
        kept_off = [h.name for h in inventory.hosts_of(cluster) if h.kept_off]
        assert inventory.index.kept_off_in.names(cluster) == kept_off
        assert inventory.index.vms_of.count(cluster) == len(here)
        assert inventory.holds_keys(cluster) == any(vm.keys for vm in here)
        assert inventory.keys_of(cluster) == tuple(_once(key for vm in here for key in vm.keys))
        grants = list(inventory.grants.values())
        granted = {row.key for row in grants if row.cluster == cluster and not row.ended}
        for key in {*inventory.keys_of(cluster), *(row.key for row in grants), NOWHERE[2]}:
            assert inventory.is_granted(cluster, key) == (key in granted)
