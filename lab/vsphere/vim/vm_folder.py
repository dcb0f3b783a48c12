"""The folder of VMs: where they are created and registered."""

from __future__ import annotations

import re
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import commands as c
from lab.vsphere.faults import invalid_argument
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.managed import operation
from lab.vsphere.vim.places import FolderEntity

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
        if config.name in request.inventory.vms:
            raise vim.fault.DuplicateName(
                name=config.name, object=request.inventory.vms[config.name].ref,
                msg=f"The name '{config.name}' already exists.",
            )  # fmt: skip
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
