"""The inventory of one vCenter: its objects by id and by name, computed from one
``InventorySnapshot``."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from lab.schema import answers
from lab.vsphere.bare import DatastoreBrowser, EnvironmentBrowser
from lab.vsphere.faults import not_found
from lab.vsphere.objects import numbers
from lab.vsphere.snapshot import InventorySnapshot
from lab.vsphere.vim.host import HostSystem
from lab.vsphere.vim.managed import Managed
from lab.vsphere.vim.places import (
    ClusterEntity,
    ComputeResource,
    Datacenter,
    DatastoreEntity,
    EntityIds,
    FolderEntity,
    Network,
    ResourcePool,
    RootFolder,
)
from lab.vsphere.vim.virtual_machine import VirtualMachine
from lab.vsphere.vim.vm_copies import VirtualMachineSnapshot
from lab.vsphere.vim.vm_folder import VmFolder


class ObjectInventory:
    """The objects of one snapshot, by id and by name."""

    ids = EntityIds()
    cluster_class: type[ComputeResource] = ClusterEntity
    host_class: type[HostSystem] = HostSystem
    vm_class: type[VirtualMachine] = VirtualMachine

    def __init__(self, snapshot: InventorySnapshot, lab: str) -> None:
        self.snapshot, self.lab = snapshot, lab
        self.evaluations: dict[Any, Any] = {}
        """What filters select in it (``lab.vsphere.vim.evaluation``)."""
        self.number = numbers(
            [f"vm/{v.vm}" for v in snapshot.vms]
            + [f"host/{h.host}" for h in snapshot.hosts]
            + [f"cluster/{c.cluster}" for c in snapshot.clusters]
            + [f"snapshot/{v.vm}/{s}" for v in snapshot.vms for s in v.snapshots]
        )
        self.root, self.datacenter = RootFolder(self), Datacenter(self)
        self.network = Network(self)
        self.folders = [
            self.make_vm_folder(),
            FolderEntity(self, self.ids.host_folder, "host", ["ComputeResource", "Folder"]),
            FolderEntity(self, self.ids.datastore_folder, "datastore", ["Datastore", "Folder"]),
            FolderEntity(self, self.ids.network_folder, "network", ["Network", "Folder"]),
        ]
        self.clusters = {
            str(row.cluster): self.cluster_class(self, row) for row in snapshot.clusters
        }
        self.pools = {n: ResourcePool(self, n) for n in self.clusters}
        self.datastores = {n: DatastoreEntity(self, n) for n in self.clusters}
        self.hosts = {str(row.host): self.host_class(self, row) for row in snapshot.hosts}
        self.vms = {str(row.vm): self.vm_class(self, row) for row in snapshot.vms}
        self.hosts_of: dict[str, list[Any]] = defaultdict(list)
        self.vms_of: dict[str, list[Any]] = defaultdict(list)
        self.vms_on: dict[str, list[Any]] = defaultdict(list)
        for host in self.hosts.values():
            self.hosts_of[str(host.row.cluster)].append(host)
        for vm in self.vms.values():
            self.vms_of[str(vm.row.cluster)].append(vm)
            self.vms_on[str(vm.row.host)].append(vm)
        self.alarms: dict[str, list[answers.Alarm]] = defaultdict(list)
        for alarm in snapshot.alarms:
            self.alarms[alarm.of].append(alarm)
        self.tasks_of: dict[str, list[answers.Task]] = defaultdict(list)
        for task in snapshot.tasks:
            self.tasks_of[task.entity].append(task)
        here: list[Managed] = [
            self.root,
            self.datacenter,
            *self.folders,
            *self.clusters.values(),
            *self.pools.values(),
            *self.datastores.values(),
            *(DatastoreBrowser(d) for d in self.datastores.values()),
            *(EnvironmentBrowser(c) for c in self.clusters.values()),
            self.network,
            *self.hosts.values(),
            *self.vms.values(),
            *(VirtualMachineSnapshot(v, s) for v in self.vms.values() for s in v.row.snapshots),
        ]
        self.objects = {one.id: one for one in here}

    def make_vm_folder(self) -> FolderEntity:
        """The folder of VMs."""
        return VmFolder(self)

    def find(self, reference: Any) -> Managed:
        """The object of a reference; ``ManagedObjectNotFound`` when there is none."""
        found = self.objects.get(str(reference._moId))
        if found is None or not issubclass(found.kind, type(reference)):
            raise not_found(type(reference), str(reference._moId))
        return found

    def id_of(self, what: str, name: str, prefix: str) -> str:
        """The id of a VM, host or cluster."""
        return f"{prefix}{self.number[f'{what}/{name}']}"

    def children(self, thing: Any) -> list[Any]:
        """What lies below an object in the tree of the inventory."""
        if thing is self.root:
            return [self.datacenter]
        if thing is self.datacenter:
            return list(self.folders)
        below: list[list[Any]] = [
            list(self.vms.values()), list(self.clusters.values()),
            list(self.datastores.values()), [self.network],
        ]  # fmt: skip
        for folder, things in zip(self.folders, below, strict=True):
            if thing is folder:
                return things
        if isinstance(thing, ComputeResource):
            return [self.pools[thing.name], *self.hosts_of[thing.name]]
        return []

    def vms_run_by(self, thing: Any) -> list[Any]:
        """The VMs of a cluster, a resource pool or a host, which lie elsewhere in the tree."""
        if isinstance(thing, ResourcePool):
            return self.vms_of[thing.cluster]
        if isinstance(thing, ComputeResource):
            return self.vms_of[thing.name]
        return self.vms_on[thing.name] if isinstance(thing, HostSystem) else []

    def find_by_name(self, what: str) -> Any:
        """The VM, host or cluster of this name, or None."""
        return self.vms.get(what) or self.hosts.get(what) or self.clusters.get(what)

    def lies_in(self, things: Iterable[Any], entity: Any, recursion: str) -> bool:
        """Whether what happened to ``things`` is asked for by an ``entity`` with its recursion:
        self, children or all. What happened to nothing that has a place happened to the root."""
        wanted = str(entity._moId)
        direct = list(things) or [self.root]
        if recursion != "children" and any(t.id == wanted for t in direct):
            return True
        if recursion == "self":
            return False
        above = [t.parent for t in direct]
        while above:
            thing = above.pop()
            if thing is not None:
                if thing.id == wanted:
                    return True
                above.append(thing.parent)
        return False
