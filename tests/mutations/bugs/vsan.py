"""Bugs of encrypted vSAN."""

from __future__ import annotations

from typing import Any

from protocol.crypto.disk import DEK_SIZE
from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from protocol.terms import ClusterName, KeyKind
from protocol.vsan import VsanEncryption
from services.esxi import crypto_manager
from services.esxi.host import EsxiHost
from services.esxi.vsan import components, disk_groups, encryption, mounting, objects
from services.esxi.vsan.disk_groups import DiskGroup, DiskGroups, PlacedComponent
from services.runtime.ports import Disk
from services.vcenter.inventory import Inventory
from tests.mutations.bugs.planting import plant, replaces


def vsan_blank_component_votes() -> None:
    """VSAN-04 broken: a component that was made again after a loss votes before anybody has told it
    of the writes that the lost one had seen."""

    @replaces(components, "PlacedComponent")
    def placed(original: Any, **fields: Any) -> disk_groups.PlacedComponent:
        made: disk_groups.PlacedComponent = original(**{**fields, "blank": False})
        return made


def vsan_blanked_on_a_vote() -> None:
    """VSAN-04 broken: a deep rekey gives the blocks of a replica up when another host says that it
    has them, and does not look whether it has."""

    @replaces(components, "_check_other_replica")
    async def check_other(original: Any, host: EsxiHost, placed: PlacedComponent) -> None:
        del host, placed


def vsan_component_made_beside_a_hidden_one() -> None:
    """VSAN-04 broken: a component is made again while a disk group that is not mounted may have
    it."""

    @replaces(components, "_check_nothing_hidden")
    def nothing_hidden(original: Any, host: EsxiHost, name: str) -> None:
        del host, name


def vsan_copy_in_the_making_counts() -> None:
    """VSAN-04 broken: a copy in the making counts when the group with its original is not
    mounted."""

    @replaces(DiskGroups, "find")
    def find(
        original: Any, self: DiskGroups, name: str
    ) -> tuple[DiskGroup, str, PlacedComponent] | None:
        places = self.places(name)
        return min(places, key=lambda place: disk_groups._order(place[2]), default=None)


def vsan_first_component_counts() -> None:
    """VSAN-04 broken: of two components of an object that lie on a host the first one counts,
    however old."""

    def _any_order(original: Any) -> Any:
        return lambda placed: (placed.moving, False, 0, 0)

    plant(disk_groups, "_order", _any_order)


def vsan_host_waits_for_vcenter() -> None:
    """VSAN-03 broken: a host that boots again asks no key server itself, and waits for
    vCenter to bring the keys."""

    @replaces(mounting, "_fetch_keys")
    async def fetch(original: Any, host: EsxiHost, profile: Any, wanted: Any) -> dict[Any, str]:
        if host.node.boot == 1:
            found: dict[Any, str] = await original(host, profile, wanted)
            return found
        await host.uplink.ring()
        return {key: "vCenter has not brought it" for key in wanted if key not in host.keys}


def vsan_kek_not_persisted() -> None:
    """VSAN-07 broken: the KEK of vSAN is left out of the persisted store, whatever the release."""

    @replaces(EsxiHost, "_persists")
    def persists(original: Any, self: EsxiHost, kind: KeyKind) -> bool:
        return kind is not KeyKind.VSAN


def vsan_keys_through_vcenter() -> None:
    """VSAN-03 broken: a host that boots again asks no key server for the key of its disk groups.
    vCenter fetches it and brings it, as it does with the keys of VMs."""

    @replaces(mounting, "_fetch_keys")
    async def fetch(original: Any, host: EsxiHost, profile: Any, wanted: Any) -> dict[Any, str]:
        if host.node.boot == 1:
            found: dict[Any, str] = await original(host, profile, wanted)
            return found
        return {key: "vCenter has not brought it" for key in wanted}

    @replaces(Inventory, "keys_of")
    def keys_of(original: Any, self: Inventory, cluster: ClusterName) -> tuple[Any, ...]:
        vsan = self.clusters[cluster].vsan
        kek = None if vsan is None else vsan.keys.kek
        return (*original(self, cluster), *[kek] * (kek is not None))

    @replaces(Inventory, "is_granted")
    def is_granted(original: Any, self: Inventory, cluster: ClusterName, key: Any) -> bool:
        vsan = self.clusters[cluster].vsan
        return original(self, cluster, key) or (vsan is not None and key == vsan.keys.kek)

    @replaces(crypto_manager, "add_keys")
    async def add_keys(original: Any, host: EsxiHost, *args: Any) -> Any:
        results = await original(host, *args)
        for group in host.vsan.list_unmounted():
            mounting._mount_group(host, group, {})
        return results


def vsan_old_replica_is_read() -> None:
    """VSAN-04 broken: a host reads and writes its replica without asking whether it missed a
    write."""

    @replaces(objects, "make_current")
    async def be_current(original: Any, host: EsxiHost, name: str) -> int:
        stamp: int = objects.replica_here(host, name)[2].stamp
        return stamp


def vsan_persisted_by_any_release() -> None:
    """KP-08 broken: key persistence covers vSAN in every release."""

    @replaces(EsxiHost, "_persists")
    def persists(original: Any, self: EsxiHost, kind: KeyKind) -> bool:
        return True if kind is KeyKind.VSAN else bool(original(self, kind))


def vsan_read_from_memory() -> None:
    """VSAN-04 broken: a host answers for a replica from what it once read, not from its disk."""

    _memory: dict[tuple[str, str, int], list[bytes]] = {}

    @replaces(objects, "_read_whole_replica")
    async def whole(original: Any, host: EsxiHost, name: str) -> tuple[list[bytes], int]:
        stamp = objects.replica_here(host, name)[2].stamp
        place = (host.node.name, name, stamp)
        if place not in _memory:
            _memory[place] = (await original(host, name))[0]
        return _memory[place], stamp


def vsan_rekey_leaves_a_disk() -> None:
    """VSAN-11 broken: a shallow rekey is settled with the last disk of each group left as it
    was."""

    @replaces(encryption, "_change_disk")
    async def bring(
        original: Any,
        host: EsxiHost,
        group: DiskGroup,
        name: str,
        step: Any,
        wished: VsanEncryption,
    ) -> None:
        if step is encryption.DiskStep.REWRAP and name == max(group.labels):
            return
        await original(host, group, name, step, wished)


def vsan_vote_not_durable() -> None:
    """VSAN-04 broken: a host tells of a disk that is in its place, and would not be after a loss of
    power."""

    @replaces(DiskGroups, "sync")
    async def sync(original: Any, self: DiskGroups, disk: Disk) -> None:
        del self, disk


def vsan_write_acknowledged_alone() -> None:
    """VSAN-04 broken: a write is acknowledged, and read, when the writer's own component has it."""

    @replaces(objects, "_spread")
    async def spread(original: Any, host: EsxiHost, placed: PlacedComponent, stamp: int) -> bool:
        await original(host, placed, stamp)
        return True


def vsan_writer_counts_alone() -> None:
    """VSAN-04 broken: a writer takes the next number that it knows of, and nobody promises it. One
    that falls with its write on its own disk alone comes back with the number of a later one."""

    @replaces(objects, "_reserve_number")
    async def reserved(original: Any, host: EsxiHost, name: str) -> int:
        stamp: int = objects.replica_here(host, name)[2].stamp
        return stamp + 1


def vsan_wrong_kek_opens() -> None:
    """VSAN-04 broken: a disk is opened with a KEK that does not wrap its data key."""

    @replaces(disk_groups, "unwrap")
    def unwrap(original: Any, kek: KeyMaterial, wrapped: bytes, aad: bytes) -> KeyMaterial:
        try:
            found: KeyMaterial = original(kek, wrapped, aad)
            return found
        except CryptographicFailure:
            return KeyMaterial(wrapped[:DEK_SIZE])
