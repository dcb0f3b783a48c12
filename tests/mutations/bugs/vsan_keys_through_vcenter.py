"""VSAN-03 broken: a host that boots again asks no key server for the key of its disk groups.
vCenter fetches it and brings it, as it does with the keys of VMs."""

from __future__ import annotations

from typing import Any

from protocol.terms import ClusterName
from services.esxi import crypto_manager
from services.esxi.host import Host
from services.esxi.vsan import keys, mounting
from services.vcenter.inventory import Inventory
from tests.mutations.bugs.planting import plant


def _asks_nobody(original: Any) -> Any:
    async def fetch(host: Host, profile: Any, wanted: Any) -> dict[Any, str]:
        if host.node.boot == 1:
            found: dict[Any, str] = await original(host, profile, wanted)
            return found
        return {key: "vCenter has not brought it" for key in wanted}

    return fetch


def _with_that_of_vsan(original: Any) -> Any:
    def keys_of(self: Inventory, cluster: ClusterName) -> tuple[Any, ...]:
        vsan = self.clusters[cluster].vsan
        kek = None if vsan is None else vsan.keys.kek
        return (*original(self, cluster), *[kek] * (kek is not None))

    return keys_of


def _that_too(original: Any) -> Any:
    def is_granted(self: Inventory, cluster: ClusterName, key: Any) -> bool:
        vsan = self.clusters[cluster].vsan
        return original(self, cluster, key) or (vsan is not None and key == vsan.keys.kek)

    return is_granted


def _then_mounts(original: Any) -> Any:
    async def add_keys(host: Host, *args: Any) -> Any:
        results = await original(host, *args)
        if host.vsan.list_unmounted():
            await mounting.mount(host)
        return results

    return add_keys


plant(keys, "_fetch", _asks_nobody)
plant(Inventory, "keys_of", _with_that_of_vsan)
plant(Inventory, "is_granted", _that_too)
plant(crypto_manager, "add_keys", _then_mounts)
