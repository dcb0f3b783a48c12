"""``VirtualMachine``: what vCenter knows of a VM, and its tasks."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.vsphere.faults import invalid_argument
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.managed import operation, uuid_of
from lab.vsphere.vim.places import key_or_none
from lab.vsphere.vim.vm_creation import VmCopies, check_row, snapshot_info, snapshot_ref
from protocol.terms import PowerState, VmCryptoState

MEMORY_MB, CPUS, DISK_KB = 1024, 1, 256
GUEST_ID, GUEST_NAME = "otherGuest64", "Other (64-bit)"


def _devices(vm: Any) -> list[Any]:
    key = key_or_none(vm.row.key)
    controller = vim.vm.device.ParaVirtualSCSIController(
        key=1000, busNumber=0, device=[2000], sharedBus="noSharing", scsiCtlrUnitNumber=7,
        deviceInfo=vim.Description(label="SCSI controller 0", summary="VMware paravirtual SCSI"),
    )  # fmt: skip
    disk = vim.vm.device.VirtualDisk(
        key=2000, controllerKey=1000, unitNumber=0, capacityInKB=DISK_KB,
        capacityInBytes=DISK_KB * 1024,
        deviceInfo=vim.Description(label="Hard disk 1", summary=f"{DISK_KB} KB"),
        backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
            fileName=f"{vm.folder_path}/{vm.name}.vmdk", datastore=vm.datastore.ref,
            diskMode="persistent", thinProvisioned=True, keyId=key,
            uuid=uuid_of(vm.inventory.lab, "disk", vm.name),
        ),
    )  # fmt: skip
    tpm = [vim.vm.device.VirtualTPM(
        key=11000, deviceInfo=vim.Description(label="Virtual TPM", summary="Trusted Platform"),
    )] if vm.row.vtpm else []  # fmt: skip
    return [controller, disk, *tpm]


def _layout(vm: Any) -> Any:
    """Its files on the datastore. A snapshot of a lab has none of its own."""
    layout = vim.vm.FileLayoutEx
    names = {"config": f"{vm.name}.vmx", "diskExtent": f"{vm.name}.vmdk"}
    return layout(
        timestamp=vm.inventory.snapshot.now(),
        file=[
            layout.FileInfo(
                key=key, name=f"{vm.folder_path}/{name}", type=kind,
                size=DISK_KB * 1024 if kind == "diskExtent" else 0, accessible=True,
            )
            for key, (kind, name) in enumerate(names.items())
        ],
        disk=[layout.DiskLayout(key=2000, chain=[layout.DiskUnit(fileKey=[1])])],
        snapshot=[
            layout.SnapshotLayout(
                key=snapshot_ref(vm.inventory, vm.name, name), dataKey=-1, memoryKey=-1,
                disk=[layout.DiskLayout(key=2000, chain=[layout.DiskUnit(fileKey=[1])])],
            )
            for name in vm.row.snapshots
        ],
    )  # fmt: skip


class VirtualMachine(VmCopies):
    """A VM."""

    kind = vim.VirtualMachine
    properties = {
        "runtime.host": lambda v: v.host.ref if v.host else None,
        "runtime.connectionState": lambda v: v.row.connection.value,
        "runtime.powerState": lambda v: v.row.power.value,
        "runtime.faultToleranceState": lambda v: "notConfigured",
        "runtime.toolsInstallerMounted": lambda v: False,
        "runtime.bootTime": lambda v: None,
        "runtime.numMksConnections": lambda v: 0,
        "runtime.recordReplayState": lambda v: "inactive",
        "runtime.onlineStandby": lambda v: False,
        "runtime.consolidationNeeded": lambda v: False,
        "runtime.maxCpuUsage": lambda v: 2400,
        "runtime.maxMemoryUsage": lambda v: MEMORY_MB,
        "runtime.cryptoState": lambda v: v.row.crypto.value if v.row.crypto else None,
        "config.changeVersion": lambda v: "1",
        "config.modified": lambda v: 0.0,
        "config.name": lambda v: v.name,
        "config.guestFullName": lambda v: GUEST_NAME,
        "config.version": lambda v: "vmx-21",
        "config.uuid": lambda v: v.uuid,
        "config.instanceUuid": lambda v: v.instance_uuid,
        "config.template": lambda v: v.row.template,
        "config.guestId": lambda v: GUEST_ID,
        "config.alternateGuestName": lambda v: "",
        "config.annotation": lambda v: "",
        "config.files.vmPathName": lambda v: v.path,
        "config.files.logDirectory": lambda v: v.folder_path,
        "config.files.snapshotDirectory": lambda v: v.folder_path,
        "config.files.suspendDirectory": lambda v: v.folder_path,
        "config.flags": lambda v: vim.vm.FlagInfo(),
        "config.defaultPowerOps": lambda v: vim.vm.DefaultPowerOpInfo(),
        "config.hardware.numCPU": lambda v: CPUS,
        "config.hardware.numCoresPerSocket": lambda v: CPUS,
        "config.hardware.memoryMB": lambda v: MEMORY_MB,
        "config.hardware.device": _devices,
        "config.tools": lambda v: vim.vm.ToolsConfigInfo(
            toolsVersion=0,
            afterPowerOn=True,
            afterResume=True,
            beforeGuestStandby=True,
            beforeGuestShutdown=True,
            beforeGuestReboot=True,
            toolsUpgradePolicy="manual",
            syncTimeWithHost=False,
        ),
        "config.cpuAllocation": lambda v: None,
        "config.memoryAllocation": lambda v: None,
        "config.extraConfig": lambda v: [],
        "config.bootOptions": lambda v: vim.vm.BootOptions(efiSecureBootEnabled=True),
        "config.firmware": lambda v: "efi",
        "config.keyId": lambda v: key_or_none(v.row.key),
        "config.migrateEncryption": lambda v: (
            v.row.migrate_encryption.value if v.row.migrate_encryption else None
        ),
        "guest.guestState": lambda v: "running" if v.is_on else "notRunning",
        "guest.guestId": lambda v: GUEST_ID if v.is_on else None,
        "guest.guestFullName": lambda v: GUEST_NAME if v.is_on else None,
        "guest.hostName": lambda v: v.name if v.is_on else None,
        "guest.toolsStatus": lambda v: v.tools,
        "guest.toolsRunningStatus": lambda v: v.tools_running,
        "guest.toolsVersionStatus": lambda v: "guestToolsCurrent",
        "guest.toolsVersionStatus2": lambda v: "guestToolsCurrent",
        "guest.net": lambda v: [],
        "guest.disk": lambda v: [],
        "guest.guestOperationsReady": lambda v: False,
        "guestHeartbeatStatus": lambda v: v.heartbeat,
        "summary.vm": lambda v: v.ref,
        "summary.runtime": lambda v: v.get("runtime"),
        "summary.guest.guestId": lambda v: GUEST_ID,
        "summary.guest.guestFullName": lambda v: GUEST_NAME,
        "summary.guest.hostName": lambda v: v.name if v.is_on else None,
        "summary.guest.toolsStatus": lambda v: v.tools,
        "summary.guest.toolsRunningStatus": lambda v: v.tools_running,
        "summary.guest.toolsVersionStatus": lambda v: "guestToolsCurrent",
        "summary.guest.toolsVersionStatus2": lambda v: "guestToolsCurrent",
        "summary.config.name": lambda v: v.name,
        "summary.config.template": lambda v: v.row.template,
        "summary.config.vmPathName": lambda v: v.path,
        "summary.config.memorySizeMB": lambda v: MEMORY_MB,
        "summary.config.numCpu": lambda v: CPUS,
        "summary.config.numEthernetCards": lambda v: 0,
        "summary.config.numVirtualDisks": lambda v: 1,
        "summary.config.uuid": lambda v: v.uuid,
        "summary.config.instanceUuid": lambda v: v.instance_uuid,
        "summary.config.guestId": lambda v: GUEST_ID,
        "summary.config.guestFullName": lambda v: GUEST_NAME,
        "summary.config.annotation": lambda v: "",
        "summary.config.tpmPresent": lambda v: v.row.vtpm,
        "summary.storage.committed": lambda v: DISK_KB * 1024,
        "summary.storage.uncommitted": lambda v: 0,
        "summary.storage.unshared": lambda v: DISK_KB * 1024,
        "summary.storage.timestamp": lambda v: v.inventory.snapshot.now(),
        "summary.quickStats.guestHeartbeatStatus": lambda v: v.heartbeat,
        "summary.quickStats.overallCpuUsage": lambda v: 0,
        "summary.quickStats.guestMemoryUsage": lambda v: 0,
        "summary.quickStats.hostMemoryUsage": lambda v: 0,
        "summary.quickStats.uptimeSeconds": lambda v: 0,
        "summary.overallStatus": lambda v: v.status,
        "resourcePool": lambda v: v.inventory.pools[str(v.row.cluster)].ref,
        "datastore": lambda v: [v.datastore.ref],
        "network": lambda v: [v.inventory.network.ref],
        "snapshot": snapshot_info,
        "rootSnapshot": lambda v: [
            snapshot_ref(v.inventory, v.name, name) for name in v.row.snapshots[:1]
        ],
        "capability": lambda v: vim.vm.Capability(
            snapshotOperationsSupported=True,
            multipleSnapshotsSupported=True,
            memorySnapshotsSupported=True,
            revertToSnapshotSupported=True,
            poweredOffSnapshotsSupported=True,
            snapshotConfigSupported=True,
        ),
        "layoutEx": _layout,
        "environmentBrowser": lambda v: v.cluster.get("environmentBrowser"),
    }

    def __init__(self, inventory: Any, row: answers.Vm) -> None:
        super().__init__(inventory, inventory.id_of("vm", row.vm, "vm-"))
        self.row, self.name = row, str(row.vm)

    @property
    def parent(self) -> Any:
        """The folder of VMs."""
        return self.inventory.objects[self.inventory.ids.vm_folder]

    @property
    def host(self) -> Any:
        """The host that it is on."""
        return self.inventory.hosts.get(str(self.row.host))

    @property
    def cluster(self) -> Any:
        """The cluster that it belongs to."""
        return self.inventory.clusters[str(self.row.cluster)]

    @property
    def datastore(self) -> Any:
        """The datastore of its cluster."""
        return self.inventory.datastores[str(self.row.cluster)]

    @property
    def is_on(self) -> bool:
        """Whether it is powered on."""
        return self.row.power is PowerState.ON

    @property
    def tools(self) -> str:
        """Of VMware Tools, which every guest has."""
        return "toolsOk" if self.is_on else "toolsNotRunning"

    @property
    def tools_running(self) -> str:
        """The same, as newer clients read it."""
        return "guestToolsRunning" if self.is_on else "guestToolsNotRunning"

    @property
    def heartbeat(self) -> str:
        """Whether vCenter hears its guest."""
        return "green" if self.is_on and self.host is not None and self.host.connected else "gray"

    @property
    def status(self) -> str:
        """``red`` while it is locked or an alarm of it is on."""
        return "red" if self.row.crypto is VmCryptoState.LOCKED else super().status

    @property
    def uuid(self) -> str:
        """The BIOS UUID."""
        return uuid_of(self.inventory.lab, "bios", self.name)

    @property
    def instance_uuid(self) -> str:
        """The UUID in vCenter."""
        return uuid_of(self.inventory.lab, "instance", self.name)

    @property
    def folder_path(self) -> str:
        """Its folder on the datastore."""
        return f"[{self.datastore.name}] {self.name}"

    @property
    def path(self) -> str:
        """Its configuration file on the datastore."""
        return f"{self.folder_path}/{self.name}.vmx"

    # ---- operations

    def power_command(self, kind: Any) -> Any:
        """``VmOn`` or ``VmOff`` for it, to whoever this inventory is of."""
        return kind((self.name,))

    @operation
    async def PowerOnVM_Task(self, request: ApiRequest, host: Any = None) -> Any:
        """Power it on."""
        work = _power(self, not self.is_on, self.power_command(c.VmOn))
        return await request.start(self, "PowerOnVM_Task", work)

    @operation
    async def PowerOffVM_Task(self, request: ApiRequest) -> Any:
        """Power it off."""
        work = _power(self, self.is_on, self.power_command(c.VmOff))
        return await request.start(self, "PowerOffVM_Task", work)

    @operation
    async def ResetVM_Task(self, request: ApiRequest) -> Any:
        """Power it off and on."""
        both = _power(self, self.is_on, self.power_command(c.VmOff), self.power_command(c.VmOn))
        return await request.start(self, "ResetVM_Task", both)

    @operation
    async def ShutdownGuest(self, request: ApiRequest) -> None:
        """Have its guest shut down: a guest of a lab has done so when this returns."""
        self._check_tools()
        check_row(await request.do(self.power_command(c.VmOff)))

    @operation
    async def RebootGuest(self, request: ApiRequest) -> None:
        """Have its guest start again."""
        self._check_tools()
        check_row(await request.do(self.power_command(c.VmOff)))
        check_row(await request.do(self.power_command(c.VmOn)))

    def _check_tools(self) -> None:
        if not self.is_on:
            state = str(self.row.power.value)
            raise vim.fault.InvalidPowerState(
                requestedState="poweredOn", existingState=state, msg=f"the VM is {state}"
            )

    @operation
    async def CryptoUnlock_Task(self, request: ApiRequest) -> Any:
        """Let vCenter bring the keys of a locked VM now."""

        async def work(do: Any) -> None:
            await do(c.VmUnlock(self.name))

        return await request.start(self, "CryptoUnlock_Task", work)

    @operation
    async def ReconfigVM_Task(self, request: ApiRequest, spec: Any) -> Any:
        """Encrypt, decrypt, recrypt; add or remove a virtual TPM. Nothing else can be changed."""
        commands = _reconfigure(self.name, spec)

        async def work(do: Any) -> None:
            for command in commands:
                await do(command)

        return await request.start(self, "ReconfigVM_Task", work)

    @operation
    async def MigrateVM_Task(
        self, request: ApiRequest, pool: Any = None, host: Any = None, priority: Any = None,
        state: Any = None,
    ) -> Any:  # fmt: skip
        """Move it to another host."""
        if host is None:
            raise invalid_argument("host", "a host is needed")
        target = request.inventory.find(host).get("name")

        async def work(do: Any) -> None:
            await do(c.VmMigrate(self.name, target))

        return await request.start(self, "MigrateVM_Task", work)

    @operation
    async def RelocateVM_Task(self, request: ApiRequest, spec: Any, priority: Any = None) -> Any:
        """Move it to another host of its cluster. Its files stay where they are."""
        asked = [p.name for p in spec._GetPropertyList() if getattr(spec, p.name)]
        wrong = sorted(set(asked) - {"host", "pool", "datastore", "folder"})
        elsewhere = spec.datastore is not None and spec.datastore._moId != self.datastore.id
        if wrong or elsewhere:
            what = ", ".join(wrong) or "datastore"
            raise vmodl.fault.NotSupported(msg=f"a VM of a lab is moved to a host, not by {what}")
        if spec.host is None and asked:  # to where it lies already

            async def stay(do: Any) -> None:
                pass

            return await request.start(self, "RelocateVM_Task", stay)
        return await self.MigrateVM_Task(request, spec.pool, spec.host)

    @operation
    async def UnregisterVM(self, request: ApiRequest) -> None:
        """Take it out of the inventory; its files stay."""
        check_row(await request.do(c.VmUnregister((self.name,))))

    @operation
    async def Destroy_Task(self, request: ApiRequest) -> Any:
        """Remove it with its files."""

        async def work(do: Any) -> None:
            check_row(await do(c.VmDestroy((self.name,))))

        return await request.start(self, "Destroy_Task", work)


def _power(vm: VirtualMachine, allowed: bool, *commands: Any) -> Any:
    """Work that gives these commands; ``InvalidPowerState`` where the VM is not as it must be."""

    async def work(do: Any) -> None:
        if not allowed:
            state = str(vm.row.power.value)
            raise vim.fault.InvalidPowerState(existingState=state, msg=f"the VM is {state} already")
        for command in commands:
            check_row(await do(command))

    return work


_CHANGEABLE = ("crypto", "deviceChange", "changeVersion")


def _reconfigure(name: str, spec: Any) -> list[Any]:
    """The commands of a ``ConfigSpec``; ``NotSupported`` for what a lab cannot change."""
    asked = [p.name for p in spec._GetPropertyList() if getattr(spec, p.name) not in (None, [])]
    wrong = [p for p in asked if p not in _CHANGEABLE]
    if wrong:
        raise vmodl.fault.NotSupported(msg=f"keystead cannot change {', '.join(wrong)} of a VM")
    found = _crypto_commands(name, spec.crypto)
    for change in spec.deviceChange or ():
        if isinstance(change.device, vim.vm.device.VirtualTPM):
            provider = ""
            if isinstance(spec.crypto, vim.encryption.CryptoSpecEncrypt):
                provider = _provider(spec.crypto.cryptoKeyId)
                found = []
            adds = str(change.operation) == "add"
            found.append(c.VmAddTpm(name, provider) if adds else c.VmRemoveTpm(name))
        elif not isinstance(change.device, vim.vm.device.VirtualDisk) or change.operation:
            raise vmodl.fault.NotSupported(msg="of devices, only a virtual TPM comes and goes")
        elif change.backing is not None:
            _crypto_commands(name, change.backing.crypto)  # disks follow their VM; checked only
    return found


def _provider(key: Any) -> str:
    """The provider of a ``CryptoKeyId``, empty for the default one; ``NotSupported`` for a key."""
    if key is None:
        return ""
    if key.keyId:
        raise vmodl.fault.NotSupported(msg="the lab makes the key: name its provider, and no keyId")
    return str(key.providerId.id) if key.providerId else ""


def _crypto_commands(name: str, crypto: Any) -> list[Any]:
    match crypto:
        case vim.encryption.CryptoSpecEncrypt():
            return [c.VmEncrypt(name, _provider(crypto.cryptoKeyId))]
        case vim.encryption.CryptoSpecDecrypt():
            return [c.VmDecrypt(name)]
        case vim.encryption.CryptoSpecShallowRecrypt():
            return [c.VmRecrypt(name, _provider(crypto.newKeyId))]
        case vim.encryption.CryptoSpecDeepRecrypt():
            return [c.VmRecrypt(name, _provider(crypto.newKeyId), deep=True)]
        case None:
            return []
    if type(crypto) is vim.encryption.CryptoSpecNoOp:  # CryptoSpecRegister is a subtype of it
        return []
    raise vmodl.fault.NotSupported(msg=f"keystead does not have {type(crypto)._wsdlName}")
