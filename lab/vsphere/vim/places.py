"""Named objects of the inventory: a data center, its four folders, clusters, and what is in them.

Everything is computed from one ``Snapshot``. What a lab does not model (sizes, networks) has one
value for all, named in ``docs/vsphere.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.vsphere.faults import invalid_argument, key_id, key_text
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.alarms import ALARMS, color, state, state_at_definition
from lab.vsphere.vim.managed import (
    DatastoreBrowser,
    EnvironmentBrowser,
    Managed,
    build,
    operation,
    uuid_of,
)
from protocol.terms import CryptoMode

NETWORK_NAME = "VM Network"
HOST_MHZ, HOST_CORES, HOST_MEMORY = 2400, 8, 64 << 30
DATASTORE_BYTES = 1 << 40
RECENT_LIMIT = 20
"""Tasks of one object that it names itself."""


@dataclass(frozen=True)
class EntityIds:
    """The ids of what every inventory has once, and the name of its data center."""

    root: str = "group-d1"
    datacenter: str = "datacenter-2"
    vm_folder: str = "group-v3"
    host_folder: str = "group-h4"
    datastore_folder: str = "group-s5"
    network_folder: str = "group-n6"
    network: str = "network-7"
    datacenter_name: str = "dc"
    root_name: str = "Datacenters"


class Entity(Managed):
    """A named object in the tree of the inventory."""

    name = ""
    kind = vim.ManagedEntity
    properties = {
        "name": lambda e: e.name,
        "parent": lambda e: e.parent and e.parent.ref,
        "overallStatus": lambda e: e.status,
        "configStatus": lambda e: "green",
        "configIssue": lambda e: [],
        "effectiveRole": lambda e: [-1],
        "permission": lambda e: [],
        "disabledMethod": lambda e: [],
        "recentTask": lambda e: [
            vim.Task(t.task) for t in e.inventory.tasks_of[e.name][-RECENT_LIMIT:]
        ],
        "declaredAlarmState": lambda e: [],
        "triggeredAlarmState": lambda e: e.alarm_states(),
        "alarmActionsEnabled": lambda e: True,
        "tag": lambda e: [],
        "value": lambda e: [],
        "customValue": lambda e: [],
        "availableField": lambda e: [],
    }

    def __init__(self, inventory: Any, object_id: str) -> None:
        super().__init__(object_id)
        self.inventory = inventory

    @property
    def parent(self) -> Any:
        """The object above it; None for the root."""
        return None

    @property
    def status(self) -> str:
        """That of the worst alarm that is on, else ``green``."""
        colors = {color(a.alarm) for a in self.inventory.alarms.get(self.name, ())}
        return max(colors, key=("yellow", "red").index, default="green")

    def alarm_states(self) -> list[Any]:
        """The alarms of this object that are on."""
        return [state(self, alarm) for alarm in self.inventory.alarms.get(self.name, ())]

    def below(self) -> list[Any]:
        """Alarms of everything below, as the root folder shows them."""
        inventory = self.inventory
        found: list[Any] = []
        for name, alarms in inventory.alarms.items():
            if (thing := inventory.find_by_name(name)) is not None:
                found += thing.alarm_states() if alarms else []
        return found


class RootFolder(Entity):
    """The folder above all data centers."""

    kind = vim.Folder
    properties = {
        "childType": lambda f: [vim.Folder, vim.Datacenter],
        "childEntity": lambda f: [c.ref for c in f.inventory.children(f)],
        "declaredAlarmState": lambda f: [state_at_definition(f, name) for name in ALARMS],
        "triggeredAlarmState": lambda f: f.below() + f.of_providers(),
    }

    def __init__(self, inventory: Any) -> None:
        super().__init__(inventory, inventory.ids.root)
        self.name = inventory.ids.root_name

    def of_providers(self) -> list[Any]:
        """Alarms of key providers, which are no objects of the inventory: they are on here."""
        alarms = self.inventory.snapshot.alarms
        return [state(self, a) for a in alarms if self.inventory.find_by_name(a.of) is None]


class Datacenter(Entity):
    """The data center; a lab has one."""

    kind = vim.Datacenter
    properties = {
        "vmFolder": lambda d: vim.Folder(d.inventory.ids.vm_folder),
        "hostFolder": lambda d: vim.Folder(d.inventory.ids.host_folder),
        "datastoreFolder": lambda d: vim.Folder(d.inventory.ids.datastore_folder),
        "networkFolder": lambda d: vim.Folder(d.inventory.ids.network_folder),
        "datastore": lambda d: [s.ref for s in d.inventory.datastores.values()],
        "network": lambda d: [d.inventory.network.ref],
        "configuration": lambda d: vim.Datacenter.ConfigInfo(),
        "triggeredAlarmState": lambda d: d.below(),
    }

    def __init__(self, inventory: Any) -> None:
        super().__init__(inventory, inventory.ids.datacenter)
        self.name = inventory.ids.datacenter_name

    @property
    def parent(self) -> Any:
        """The root folder."""
        return self.inventory.root

    @operation
    async def PowerOnMultiVM_Task(
        self, request: ApiRequest, vm: list[Any], option: Any = None
    ) -> Any:
        """Power VMs on, each by a task of its own, where they are."""
        machines: list[Any] = [request.find(ref) for ref in vm]
        attempted = vim.cluster.AttemptedVmInfo

        async def work(do: Any) -> Any:
            return build(
                vim.cluster.PowerOnVmResult,
                attempted=[
                    attempted(vm=one.ref, task=await one.PowerOnVM_Task(request))
                    for one in machines
                ],
            )

        return await request.start(self, "PowerOnMultiVM_Task", work)


class FolderEntity(Entity):
    """One of the four folders of the data center."""

    kind = vim.Folder
    properties = {
        "childType": lambda f: [getattr(vim, name) for name in f.child_types],
        "childEntity": lambda f: [c.ref for c in f.inventory.children(f)],
    }

    def __init__(self, inventory: Any, object_id: str, name: str, types: list[str]) -> None:
        super().__init__(inventory, object_id)
        self.name, self.child_types = name, types

    @property
    def parent(self) -> Any:
        """The data center."""
        return self.inventory.datacenter


def _allocation() -> Any:
    shares = vim.SharesInfo(shares=4000, level="normal")
    return vim.ResourceAllocationInfo(
        reservation=0, expandableReservation=True, limit=-1, shares=shares
    )


def _usage(most: int) -> Any:
    return vim.ResourcePool.ResourceUsage(
        reservationUsed=0, reservationUsedForVm=0, unreservedForPool=most,
        unreservedForVm=most, overallUsage=0, maxUsage=most,
    )  # fmt: skip


def _crypto_config(cluster: Any) -> Any:
    return vim.cluster.CryptoConfigInfo(cryptoMode=str(cluster.row.crypto_mode.value))


def _das(cluster: Any) -> Any:
    return vim.cluster.DasConfigInfo(
        enabled=cluster.row.ha, hostMonitoring="enabled", admissionControlEnabled=False
    )


def _drs(cluster: Any) -> Any:
    mode = cluster.row.drs if cluster.row.drs not in ("", "off") else None
    return vim.cluster.DrsConfigInfo(
        enabled=mode is not None, defaultVmBehavior=mode or "manual", vmotionRate=3
    )


class ComputeResource(Entity):
    """What VMs run on: hosts with their resources."""

    kind = vim.ComputeResource
    properties = {
        "resourcePool": lambda c: c.inventory.pools[c.name].ref,
        "environmentBrowser": lambda c: EnvironmentBrowser(c).ref,
        "host": lambda c: [h.ref for h in c.inventory.hosts_of[c.name]],
        "datastore": lambda c: [c.inventory.datastores[c.name].ref],
        "network": lambda c: [c.inventory.network.ref],
        "summary.totalCpu": lambda c: c.count * HOST_MHZ * HOST_CORES,
        "summary.totalMemory": lambda c: c.count * HOST_MEMORY,
        "summary.numCpuCores": lambda c: c.count * HOST_CORES,
        "summary.numCpuThreads": lambda c: c.count * HOST_CORES,
        "summary.effectiveCpu": lambda c: c.usable * HOST_MHZ * HOST_CORES,
        "summary.effectiveMemory": lambda c: c.usable * (HOST_MEMORY >> 20),
        "summary.numHosts": lambda c: c.count,
        "summary.numEffectiveHosts": lambda c: c.usable,
        "summary.overallStatus": lambda c: c.status,
        "configurationEx.vmSwapPlacement": lambda c: "vmDirectory",
    }

    def __init__(self, inventory: Any, row: answers.Cluster) -> None:
        super().__init__(inventory, inventory.id_of("cluster", row.cluster, "domain-c"))
        self.row, self.name = row, str(row.cluster)

    @property
    def parent(self) -> Any:
        """The folder of hosts."""
        return self.inventory.objects[self.inventory.ids.host_folder]

    @property
    def count(self) -> int:
        """How many hosts it has."""
        return len(self.inventory.hosts_of[self.name])

    @property
    def usable(self) -> int:
        """How many of them can run VMs now."""
        hosts = self.inventory.hosts_of[self.name]
        return sum(h.connected and not h.row.in_maintenance_mode for h in hosts)


class ClusterEntity(ComputeResource):
    """A cluster of vCenter."""

    kind = vim.ClusterComputeResource
    shapes = {
        "summary": vim.ClusterComputeResource.Summary,
        "configurationEx": vim.cluster.ConfigInfoEx,
    }
    properties = {
        "summary.currentFailoverLevel": lambda c: 0,
        "summary.numVmotions": lambda c: 0,
        "summaryEx": lambda c: c.get("summary"),
        "configurationEx.dasConfig": _das,
        "configurationEx.drsConfig": _drs,
        "configurationEx.cryptoConfig": _crypto_config,
        "configurationEx.vsanConfigInfo": lambda c: vim.vsan.cluster.ConfigInfo(
            enabled=False,
            defaultConfig=vim.vsan.cluster.ConfigInfo.HostDefaultInfo(autoClaimStorage=False),
        ),
        "configuration.dasConfig": _das,
        "configuration.drsConfig": _drs,
    }

    # ---- operations

    @operation
    async def SetCryptoMode(self, request: ApiRequest, cryptoMode: str, policy: Any = None) -> None:
        """Which of its hosts are kept safe, and with which host key or provider."""
        mode = {m.value: m for m in CryptoMode}.get(cryptoMode)
        if mode is None:
            raise invalid_argument("cryptoMode", f"there is no encryption mode {cryptoMode}")
        key = key_text(policy.keyId) if policy is not None else ""
        provider = policy.providerId.id if policy is not None and policy.providerId else ""
        await request.do(c.ClusterCryptoMode(self.name, mode, key, provider))

    @operation
    async def GetResourceUsage(self, request: ApiRequest) -> Any:
        """What its hosts have; VMs of a lab use next to nothing of it."""
        return vim.cluster.ResourceUsageSummary(
            cpuUsedMHz=0, cpuCapacityMHz=self.count * HOST_MHZ * HOST_CORES,
            memUsedMB=0, memCapacityMB=self.count * (HOST_MEMORY >> 20), pMemAvailableMB=0,
            pMemCapacityMB=0, storageUsedMB=0, storageCapacityMB=DATASTORE_BYTES >> 20,
        )  # fmt: skip

    @operation
    async def PlaceVm(self, request: ApiRequest, placementSpec: Any) -> Any:
        """Recommend a host for a VM that is created, cloned or moved: of those that can run it,
        the one with the fewest VMs. Nothing is done."""
        placement = str(placementSpec.placementType)
        if placement not in ("create", "clone", "relocate"):
            raise vmodl.fault.NotSupported(msg=f"keystead does not have a placement to {placement}")
        inventory = request.inventory
        asked = [inventory.find(ref) for ref in placementSpec.hosts or ()]
        hosts = [h for h in inventory.hosts_of[self.name] if not asked or h in asked]
        able = [h for h in hosts if h.connected and not h.row.in_maintenance_mode]
        if not able:
            return vim.cluster.PlacementResult()
        host = min(able, key=lambda h: (len(inventory.vms_on[h.name]), h.name))
        where = vim.vm.RelocateSpec(
            host=host.ref, pool=self.get("resourcePool"), datastore=self.get("datastore")[0]
        )
        action = vim.cluster.PlacementAction(
            type="PlaceVm", vm=placementSpec.vm, targetHost=host.ref, relocateSpec=where
        )
        recommended = vim.cluster.Recommendation(
            key="1", type="V1", time=request.server.clock(), rating=1, target=self.ref,
            reason="xvmotionPlacement", reasonText="the host with the fewest VMs", action=[action],
        )  # fmt: skip
        return vim.cluster.PlacementResult(recommendations=[recommended])

    @operation
    async def AddHost_Task(
        self, request: ApiRequest, spec: Any, asConnected: bool, resourcePool: Any = None,
        license: str | None = None,
    ) -> Any:  # fmt: skip
        """Add a host: one that was removed, or a new machine, which is powered on."""

        async def work(do: Any) -> Any:
            host = await do(c.HostAdd(spec.hostName, self.name))
            return (await request.server.refresh()).hosts[str(host.host)].ref

        return await request.start(self, "AddHost_Task", work)

    @operation
    async def ReconfigureComputeResource_Task(
        self, request: ApiRequest, spec: Any, modify: bool
    ) -> Any:
        """Turn HA on or off, and say what DRS does by itself."""
        commands: list[Any] = []
        das, drs = getattr(spec, "dasConfig", None), getattr(spec, "drsConfig", None)
        if das is not None and das.enabled is not None:
            commands.append(c.ClusterSetHa(self.name, "on" if das.enabled else "off"))
        if drs is not None:
            enabled = drs.enabled
            if enabled is None and drs.defaultVmBehavior and self.row.drs not in ("", "off"):
                enabled = True  # the level alone changes
            if enabled is not None:
                level = str(drs.defaultVmBehavior or "fullyAutomated") if enabled else "off"
                commands.append(c.ClusterSetDrs(self.name, level))  # type: ignore[arg-type]
        if not commands:
            raise vmodl.fault.NotSupported(msg="of a cluster, HA and DRS can be changed")

        async def work(do: Any) -> None:
            for command in commands:
                await do(command)

        return await request.start(self, "ReconfigureComputeResource_Task", work)


class ResourcePool(Entity):
    """The root resource pool of a cluster."""

    kind = vim.ResourcePool
    properties = {
        "summary.name": lambda p: "Resources",
        "summary.config": lambda p: p.get("config"),
        "summary.runtime": lambda p: p.get("runtime"),
        "runtime": lambda p: vim.ResourcePool.RuntimeInfo(
            memory=_usage(p.parent.count * HOST_MEMORY),
            cpu=_usage(p.parent.count * HOST_MHZ * HOST_CORES),
            overallStatus="green",
        ),
        "config": lambda p: vim.ResourceConfigSpec(
            cpuAllocation=_allocation(), memoryAllocation=_allocation()
        ),
        "owner": lambda p: p.parent.ref,
        "resourcePool": lambda p: [],
        "vm": lambda p: [v.ref for v in p.inventory.vms_of[p.cluster]],
    }

    def __init__(self, inventory: Any, cluster: str) -> None:
        super().__init__(inventory, inventory.id_of("cluster", cluster, "resgroup-"))
        self.cluster, self.name = cluster, "Resources"

    @property
    def parent(self) -> Any:
        """Its cluster."""
        return self.inventory.clusters[self.cluster]


class DatastoreEntity(Entity):
    """The datastore that the hosts of a cluster share."""

    kind = vim.Datastore
    properties = {
        "summary.datastore": lambda d: d.ref,
        "summary.name": lambda d: d.name,
        "summary.url": lambda d: d.url,
        "summary.capacity": lambda d: DATASTORE_BYTES,
        "summary.freeSpace": lambda d: DATASTORE_BYTES // 2,
        "summary.accessible": lambda d: True,
        "summary.multipleHostAccess": lambda d: True,
        "summary.type": lambda d: "VMFS",
        "summary.maintenanceMode": lambda d: "normal",
        "info": lambda d: vim.Datastore.Info(
            name=d.name, url=d.url, freeSpace=DATASTORE_BYTES // 2, maxFileSize=DATASTORE_BYTES
        ),
        "host": lambda d: [
            vim.Datastore.HostMount(
                key=h.ref, mountInfo=vim.host.MountInfo(accessMode="readWrite", accessible=True)
            )
            for h in d.inventory.hosts_of[d.cluster]
        ],
        "vm": lambda d: [v.ref for v in d.inventory.vms_of[d.cluster]],
        "browser": lambda d: DatastoreBrowser(d).ref,
        "capability": lambda d: vim.Datastore.Capability(
            directoryHierarchySupported=True,
            rawDiskMappingsSupported=False,
            perFileThinProvisioningSupported=True,
        ),
    }

    def __init__(self, inventory: Any, cluster: str) -> None:
        super().__init__(inventory, inventory.id_of("cluster", cluster, "datastore-"))
        self.cluster, self.name = cluster, f"datastore-{cluster}"
        self.url = f"ds:///vmfs/volumes/{uuid_of(inventory.lab, 'datastore', cluster)}/"

    @property
    def parent(self) -> Any:
        """The folder of datastores."""
        return self.inventory.objects[self.inventory.ids.datastore_folder]


class Network(Entity):
    """The one network of all hosts."""

    kind = vim.Network
    properties = {
        "summary.network": lambda n: n.ref,
        "summary.name": lambda n: n.name,
        "summary.accessible": lambda n: True,
        "summary.ipPoolName": lambda n: "",
        "host": lambda n: [h.ref for h in n.inventory.hosts.values()],
        "vm": lambda n: [v.ref for v in n.inventory.vms.values()],
    }

    def __init__(self, inventory: Any) -> None:
        super().__init__(inventory, inventory.ids.network)
        self.name = NETWORK_NAME

    @property
    def parent(self) -> Any:
        """The folder of networks."""
        return self.inventory.objects[self.inventory.ids.network_folder]


def key_or_none(text: str | None) -> Any:
    """A key's ``provider/id`` as a ``CryptoKeyId``, None for none."""
    return key_id(text) if text else None
