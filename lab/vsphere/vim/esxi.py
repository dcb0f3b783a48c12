"""The inventory of an ESXi host that answers for itself, as ``HostAgent``: one host and its VMs.

It is what the host says of itself (``GetHostView``), in the classes that vCenter's inventory has,
with the ids of a host. What a host does not do, vCenter's tasks, answers ``MethodNotFound``.
"""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers import MachineState
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import Executor
from lab.vsphere.faults import fault_of, key_id, key_text
from lab.vsphere.inventory import InventorySnapshot, LabWatch, ObjectInventory
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim import reflect
from lab.vsphere.vim.host import HostSystem
from lab.vsphere.vim.managed import Managed, operation
from lab.vsphere.vim.places import ComputeResource, EntityIds, FolderEntity
from lab.vsphere.vim.virtual_machine import VirtualMachine
from lab.vsphere.vim.vm_creation import VM_TYPES
from protocol.terms import ClusterName, CryptoMode, HostConnectionState, NodeName, Role

ENC = vim.encryption


class HostWatch(LabWatch):
    """One host as it said of itself last."""

    def __init__(self, executor: Executor, host: str) -> None:
        super().__init__(executor)
        self.host = host

    async def do(self, command: Any, user: str = "") -> Any:
        """As ``LabWatch.do``: a local user of the host is no user of vCenter."""
        return await super().do(command)

    async def ask(self, command: Any, user: str = "") -> Any:
        """As ``LabWatch.ask``."""
        return await super().ask(command)

    async def node(self) -> answers.Node:
        """The machine of the host. Raises ``KeysteadError`` when the lab has no such host."""
        nodes: tuple[answers.Node, ...] = (await self.executor.look(c.GetNodes())).items
        for one in nodes:
            if one.role is Role.ESXI and one.node == self.host:
                return one
        raise KeysteadError("KS-USE-002", f"there is no host {self.host} any more")

    async def _is_unchanged(self, last: InventorySnapshot) -> bool:
        return False  # it asks its host alone, which is little

    async def _take(self) -> InventorySnapshot:
        view: answers.HostView = await self.ask(c.GetHostView(self.host))
        node = await self.node()
        cluster = node.cluster or ClusterName("ha")
        await self._read_clock()
        taken = InventorySnapshot(
            1, hosts=(_host(view, cluster, node.state, self._clock.time),),
            vms=tuple(_vm(view.host, cluster, vm) for vm in view.vms),
            clusters=(answers.Cluster(cluster=cluster, crypto_mode=CryptoMode.ON_DEMAND),),
            boot=view.boot, view=view,
        )  # fmt: skip
        return self._compare(taken)


def _host(
    view: answers.HostView, cluster: ClusterName, state: MachineState, at: float
) -> answers.Host:
    return answers.Host(
        host=view.host, cluster=cluster, connection=HostConnectionState.CONNECTED,
        crypto_state=view.crypto_state, crypto_key_id=view.crypto_key_id, version=view.version,
        tpm_present=view.tpm_present, key_persistence=view.key_persistence, boot=view.boot,
        cached_keys=view.cached_keys, machine=state, seen_at=at,
    )  # fmt: skip


def _vm(host: NodeName, cluster: ClusterName, vm: answers.VmOnHost) -> answers.Vm:
    return answers.Vm(
        vm=vm.vm, cluster=cluster, host=host, power=vm.power, connection=vm.connection,
        crypto=vm.crypto, key=vm.keys[0] if vm.keys else None, missing=vm.missing, vtpm=vm.vtpm,
    )  # fmt: skip


def _protection(host: Any) -> Any:
    view = host.inventory.snapshot.view
    return vim.host.RuntimeInfo.StateEncryptionInfo(
        protectionMode=view.protection_mode.value.lower()
    )


class OwnHost(HostSystem):
    """The host that answers."""

    properties = {
        "runtime.stateEncryption": _protection,
        "configManager.cryptoManager": lambda h: ENC.CryptoManagerHostKMS(CRYPTO),
        "summary.managementServerIp": lambda h: None,
    }

    async def _start(self, request: ApiRequest, name: str, command: Any) -> Any:
        """Start a task that ends this host. As in the product, its client gets the task and then
        loses the connection: it never sees the task succeed."""

        async def work(do: Any) -> None:
            await do(command)

        return await request.start(self, name, work, beside=True)

    @operation
    async def RetrieveDynamicTypeManager(self, request: ApiRequest) -> Any:
        """What tells the types of esxcli."""
        return reflect.DYNAMIC_TYPE_MANAGER(reflect.TYPE_MANAGER)

    @operation
    async def RetrieveManagedMethodExecuter(self, request: ApiRequest) -> Any:
        """What carries out esxcli."""
        return reflect.METHOD_EXECUTER(reflect.EXECUTER)


OwnHost.operations = frozenset(
    {
        "QueryTpmAttestationReport", "RetrieveDynamicTypeManager",
        "RetrieveManagedMethodExecuter", "RebootHost_Task", "ShutdownHost_Task",
    }
)  # fmt: skip


class OwnVm(VirtualMachine):
    """A VM of the host. Its power follows what the host has keys for, and nobody else is asked."""

    def power_command(self, kind: Any) -> Any:
        """As the host's own administrator."""
        return kind((self.name,), host=str(self.row.host), on_host=True)


OwnVm.operations = frozenset(
    {"PowerOnVM_Task", "PowerOffVM_Task", "ResetVM_Task", "ShutdownGuest", "RebootGuest"}
)


class HostInventory(ObjectInventory):
    """One host, its VMs and its datastore, with the ids of a host."""

    ids = EntityIds(
        root="ha-folder-root", datacenter="ha-datacenter", vm_folder="ha-folder-vm",
        host_folder="ha-folder-host", datastore_folder="ha-folder-datastore",
        network_folder="ha-folder-network", network="HaNetwork-VM Network",
        datacenter_name="ha-datacenter", root_name="ha-folder-root",
    )  # fmt: skip
    cluster_class, host_class, vm_class = ComputeResource, OwnHost, OwnVm

    def make_vm_folder(self) -> FolderEntity:
        """A folder without vCenter's tasks."""
        return FolderEntity(self, self.ids.vm_folder, "vm", VM_TYPES)

    def id_of(self, what: str, name: str, prefix: str) -> str:
        """Of a VM its number, of everything else the one id that a host has for it."""
        fixed = {"host-": "ha-host", "domain-c": "ha-compute-res", "resgroup-": "ha-root-pool"}
        if prefix in fixed:
            return fixed[prefix]
        return super().id_of(what, name, "" if prefix == "vm-" else prefix)


CRYPTO = "ha-crypto-manager"


class HostCryptoManager(Managed):
    """``CryptoManagerHostKMS``: the keys that the host has now."""

    kind = ENC.CryptoManagerHostKMS
    properties = {"enabled": lambda m: True}

    def __init__(self, inventory: ObjectInventory) -> None:
        super().__init__(CRYPTO)
        self.host = next(iter(inventory.hosts))

    async def _keys(self, request: ApiRequest) -> tuple[Any, ...]:
        found: tuple[Any, ...] = (await request.ask(c.DescribeHost(self.host))).keys
        return found

    @operation
    async def ListKeys(self, request: ApiRequest, limit: int | None = None) -> list[Any]:
        """The keys in the host's cache."""
        found = [key_id(row.key) for row in await self._keys(request) if row.cached]
        return found if limit is None else found[: max(limit, 0)]

    @operation
    async def GetCryptoKeyStatus(self, request: ApiRequest, keys: Any = ()) -> list[Any]:
        """Whether keys are in the host's cache, and who manages them."""
        rows = {str(row.key): row for row in await self._keys(request)}
        wanted = [key_text(key) for key in keys or ()] or list(rows)
        return [
            ENC.CryptoManagerHost.KeyStatus(
                keyId=key_id(text), present=text in rows and rows[text].cached,
                managementType=_management(rows.get(text)),
            )
            for text in wanted
        ]  # fmt: skip

    @operation
    async def RemoveKey(self, request: ApiRequest, key: Any, force: bool) -> None:
        """Remove a key from the host, used or not: it does not know what uses it."""
        found = (await request.do(c.HostRemoveKeys(self.host, (key_text(key),)))).items[0]
        if not found.removed:
            raise vim.fault.ResourceInUse(msg=found.reason)

    @operation
    async def RemoveKeys(
        self, request: ApiRequest, keys: Any = (), force: bool = False
    ) -> list[Any]:
        """Remove keys from the host; what came of each."""
        names = tuple(key_text(key) for key in keys or ())
        if not names:
            return []
        try:
            rows = (await request.do(c.HostRemoveKeys(self.host, names))).items
        except KeysteadError as error:
            raise fault_of(error, self.ref) from None
        return [
            ENC.CryptoKeyResult(
                keyId=key_id(row.key), success=row.removed, reason=row.reason or None
            )
            for row in rows
        ]


def _management(row: Any) -> str:
    return row.managed.value if row is not None and row.managed else "unknown"
