"""How VMs come to be: the folder where they are created and registered, clones, templates and
snapshots.
"""

from __future__ import annotations

import re
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import commands as c
from lab.vsphere.faults import invalid_argument
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.managed import Managed, operation
from lab.vsphere.vim.places import Entity, FolderEntity
from protocol.terms import VmConnectionState


def snapshot_ref(inventory: Any, vm: str, snapshot: str) -> Any:
    """The reference of a snapshot."""
    return vim.vm.Snapshot(inventory.id_of("snapshot", f"{vm}/{snapshot}", "snapshot-"))


def snapshot_info(vm: Any) -> Any:
    """The snapshots of a VM as a tree; None when it has none."""
    tree: list[Any] = []
    for number, name in reversed(list(enumerate(vm.row.snapshots, 1))):
        runs = name in vm.row.with_memory
        tree = [
            vim.vm.SnapshotTree(
                snapshot=snapshot_ref(vm.inventory, vm.name, name), vm=vm.ref, name=name,
                description="", id=number, createTime=vm.inventory.snapshot.now(),
                state="poweredOn" if runs else "poweredOff", quiesced=False,
                childSnapshotList=tree,
            )
        ]  # fmt: skip
    if not tree:
        return None
    last = snapshot_ref(vm.inventory, vm.name, vm.row.snapshots[-1])
    return vim.vm.SnapshotInfo(currentSnapshot=last, rootSnapshotList=tree)


class VirtualMachineSnapshot(Managed):
    """A snapshot of a VM. Those of one VM are a chain, oldest first."""

    kind = vim.vm.Snapshot
    properties = {
        "vm": lambda s: s.vm.ref,
        "config": lambda s: s.vm.get("config"),
        "childSnapshot": lambda s: [
            snapshot_ref(s.vm.inventory, s.vm.name, one) for one in s.after[:1]
        ],
    }

    def __init__(self, vm: Any, name: str) -> None:
        super().__init__(snapshot_ref(vm.inventory, vm.name, name)._moId)
        self.vm, self.name = vm, name

    @property
    def after(self) -> tuple[str, ...]:
        """The snapshots that were made later."""
        names = self.vm.row.snapshots
        return tuple(names[names.index(self.name) + 1 :])

    @operation
    async def RemoveSnapshot_Task(
        self, request: ApiRequest, removeChildren: bool = False, consolidate: bool | None = None
    ) -> Any:
        """Forget it; the VM stays as it is."""
        names = (*reversed(self.after), self.name) if removeChildren else (self.name,)
        commands = [c.VmSnapshotRemove(self.vm.name, name) for name in names]
        return await _start(request, self.vm, "RemoveSnapshot_Task", *commands)

    @operation
    async def RevertToSnapshot_Task(
        self, request: ApiRequest, host: Any = None, suppressPowerOn: bool | None = None
    ) -> Any:
        """Have the VM as it was."""
        command = c.VmSnapshotRevert(self.vm.name, self.name, bool(suppressPowerOn))
        return await _start(request, self.vm, "RevertToSnapshot_Task", command)


class VmCopies(Entity):
    """The operations of a VM; ``VirtualMachine`` has the rest."""

    kind = vim.VirtualMachine
    row: Any

    @operation
    async def CreateSnapshot_Task(
        self, request: ApiRequest, name: str, description: str | None = None, memory: bool = False,
        quiesce: bool = False,
    ) -> Any:  # fmt: skip
        """Keep it as it is, under a name; its memory too when it runs."""
        with_memory = memory and self.row.power.value == "poweredOn"
        command = c.VmSnapshotCreate(self.name, name, memory=with_memory)

        async def work(do: Any) -> Any:
            await do(command)
            inventory = await request.server.refresh()
            return snapshot_ref(inventory, self.name, name)

        return await request.start(self, "CreateSnapshot_Task", work)

    @operation
    async def RemoveAllSnapshots_Task(
        self, request: ApiRequest, consolidate: bool | None = None, spec: Any = None
    ) -> Any:
        """Forget all its snapshots."""
        names = reversed(self.row.snapshots)
        commands = [c.VmSnapshotRemove(self.name, name) for name in names]
        return await _start(request, self, "RemoveAllSnapshots_Task", *commands)

    @operation
    async def RevertToCurrentSnapshot_Task(
        self, request: ApiRequest, host: Any = None, suppressPowerOn: bool | None = None
    ) -> Any:
        """Have it as it was at its last snapshot."""
        if not self.row.snapshots:
            raise vim.fault.NotFound(msg=f"{self.name} has no snapshot")
        command = c.VmSnapshotRevert(self.name, self.row.snapshots[-1], bool(suppressPowerOn))
        return await _start(request, self, "RevertToCurrentSnapshot_Task", command)

    @operation
    async def CloneVM_Task(self, request: ApiRequest, folder: Any, name: str, spec: Any) -> Any:
        """A whole copy, off or powered on."""
        _check_name(request, name)
        command = _clone(request, self.name, name, spec)

        async def work(do: Any) -> Any:
            await do(command)
            if spec.powerOn:
                check_row(await do(c.VmOn((name,))))
            return (await request.server.refresh()).vms[name].ref

        return await request.start(self, "CloneVM_Task", work)

    @operation
    async def MarkAsTemplate(self, request: ApiRequest) -> None:
        """Make a template of it."""
        await request.do(c.VmTemplate(self.name))

    @operation
    async def MarkAsVirtualMachine(self, request: ApiRequest, pool: Any, host: Any = None) -> None:
        """Make a VM of the template."""
        await request.do(c.VmTemplate(self.name, off=True))


def _check_name(request: ApiRequest, name: str) -> None:
    """``DuplicateName`` for the name of a VM that is there."""
    if (there := request.inventory.vms.get(name)) is not None:
        raise vim.fault.DuplicateName(
            name=name, object=there.ref, msg=f"The name '{name}' already exists."
        )


def check_row(answer: Any) -> None:
    """Raise what was said of the one VM that a command named."""
    from lab.schema.errors import KeysteadError

    row = answer.items[0]
    if row.error_id:
        raise KeysteadError(row.error_id, row.error or "", fault=row.fault, keys=row.keys)


async def _start(request: ApiRequest, entity: Any, name: str, *commands: Any) -> Any:
    async def work(do: Any) -> None:
        for command in commands:
            await do(command)

    return await request.start(entity, name, work)


_TPM = {"copy": "copy", "replace": "replace"}


def _clone(request: ApiRequest, vm: str, name: str, spec: Any) -> c.VmClone:
    """The command of a ``CloneSpec``; ``NotSupported`` for what a lab cannot do with a clone."""
    if spec.customization is not None or spec.snapshot is not None:
        raise vmodl.fault.NotSupported(msg="a lab clones a VM as it is now, without customization")
    host, provider, recrypt = spec.location.host, "", False
    crypto = spec.config.crypto if spec.config is not None else None
    match crypto:
        case vim.encryption.CryptoSpecDeepRecrypt() | vim.encryption.CryptoSpecShallowRecrypt():
            recrypt = True
            key = crypto.newKeyId
            if key is not None and key.keyId:
                raise vmodl.fault.NotSupported(msg="the lab makes the key: name its provider")
            provider = key.providerId.id if key is not None and key.providerId else ""
        case None:
            pass
        case other if type(other) is not vim.encryption.CryptoSpecNoOp:
            kind = type(other)._wsdlName
            raise vmodl.fault.NotSupported(msg=f"keystead does not have {kind} of a clone")
    return c.VmClone(
        vm,
        name,
        host=request.inventory.find(host).get("name") if host is not None else "",
        recrypt=recrypt,
        provider=provider,
        tpm=_TPM.get(str(spec.tpmProvisionPolicy), ""),  # type: ignore[arg-type]
        template=bool(spec.template),
    )


_PATH = re.compile(r"^\[[^\]]+\] ?(?:[^/]+/)?(?P<name>[^/]+)\.vmt?x$")
_KEPT = frozenset({"name", "crypto", "version", "firmware"})
_IGNORED = frozenset(
    {"files", "guestId", "memoryMB", "numCPUs", "numCoresPerSocket", "deviceChange", "annotation",
     "bootOptions", "extraConfig", "instanceUuid", "uuid", "cpuAllocation", "memoryAllocation",
     "flags", "tools", "vmProfile", "alternateGuestName"}
)  # fmt: skip
"""Of a new VM: sizes and devices are the same for all (``docs/vsphere.md``)."""


VM_TYPES = ["VirtualMachine", "Folder"]


class VmFolder(FolderEntity):
    """The folder of VMs."""

    def __init__(self, inventory: Any) -> None:
        super().__init__(inventory, inventory.ids.vm_folder, "vm", VM_TYPES)

    @operation
    async def CreateVM_Task(
        self, request: ApiRequest, config: Any, pool: Any, host: Any = None
    ) -> Any:
        """Create a VM, powered off; with ``CryptoSpecEncrypt`` it is encrypted."""
        asked = {p.name for p in config._GetPropertyList() if getattr(config, p.name)}
        if wrong := sorted(asked - _KEPT - _IGNORED):
            raise vmodl.fault.NotSupported(msg=f"a VM of a lab has no {', '.join(wrong)}")
        if not config.name:
            raise invalid_argument("config.name", "the name of the VM is empty")
        _check_name(request, config.name)
        cluster, on_host = _where(request, pool, host)
        encrypted, provider = _encryption(config.crypto)
        hardware = int((config.version or "vmx-21").removeprefix("vmx-"))
        command = c.VmCreate(
            config.name, cluster, on_host, encrypted=encrypted, provider=provider,
            firmware=config.firmware or "efi", hardware=hardware,
        )  # fmt: skip
        return await self._start(request, "CreateVM_Task", config.name, command)

    @operation
    async def RegisterVM_Task(
        self, request: ApiRequest, path: str, name: str | None = None, asTemplate: bool = False,
        pool: Any = None, host: Any = None,
    ) -> Any:  # fmt: skip
        """Register a VM whose files lie on the datastore; it keeps its name."""
        found = _PATH.match(path)
        if found is None:
            raise invalid_argument("path", f"{path}: [datastore] VM/VM.vmx is wanted")
        if name and name != found["name"]:
            raise vmodl.fault.NotSupported(msg="a VM of a lab keeps its name")
        known = request.inventory.vms.get(found["name"])
        if known is not None and known.row.connection is VmConnectionState.CONNECTED:
            raise vim.fault.AlreadyExists(name=path, msg=f"{path} is registered already")
        cluster, on_host = _where(request, pool, host)
        command = c.VmRegister(found["name"], cluster, on_host)
        return await self._start(request, "RegisterVM_Task", found["name"], command)

    async def _start(self, request: ApiRequest, method: str, vm: str, command: Any) -> Any:
        async def work(do: Any) -> Any:
            await do(command)
            return (await request.server.refresh()).vms[vm].ref

        return await request.start(self, method, work)


def _where(request: ApiRequest, pool: Any, host: Any) -> tuple[str, str]:
    """The names of the cluster and of the host of a new VM, empty where the lab chooses."""
    cluster = request.inventory.find(pool).parent.name if pool is not None else ""
    return cluster, request.inventory.find(host).name if host is not None else ""


def _encryption(crypto: Any) -> tuple[bool, str]:
    if not isinstance(crypto, vim.encryption.CryptoSpecEncrypt):
        return False, ""
    key = crypto.cryptoKeyId
    if key is not None and key.keyId:
        raise vmodl.fault.NotSupported(msg="the lab makes the key: name its provider, and no keyId")
    return True, key.providerId.id if key is not None and key.providerId else ""
