"""vAPI: VMs with their power, hosts, clusters, the data center."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.vsphere.vapi.operations import (
    Listed,
    Mapped,
    Optional,
    VapiCall,
    VapiError,
    VapiOperation,
    VapiStructure,
)

_POWER = {"poweredOn": "POWERED_ON", "poweredOff": "POWERED_OFF", "suspended": "SUSPENDED"}
_CONNECTION = {
    "connected": "CONNECTED",
    "notResponding": "NOT_RESPONDING",
    "disconnected": "DISCONNECTED",
}


def _vm(call: VapiCall) -> Any:
    return call.inventory.find(vim.VirtualMachine(call.id("vm")))


async def list_vms(call: VapiCall) -> Any:
    """VMs, by name, host, cluster or power state."""
    wanted = call.filter()
    return [
        {
            "vm": vm.id,
            "name": vm.name,
            "power_state": _POWER[vm.row.power.value],
            "cpu_count": vm.get("config.hardware.numCPU"),
            "memory_size_MiB": vm.get("config.hardware.memoryMB"),
        }
        for vm in call.inventory.vms.values()
        if wanted.fits("names", vm.name)
        and wanted.fits("vms", vm.id)
        and wanted.fits("power_states", _POWER[vm.row.power.value])
        and wanted.fits("hosts", vm.host.id if vm.host else "")
        and wanted.fits("clusters", vm.host.parent.id if vm.host else "")
    ]


async def show_vm(call: VapiCall) -> Any:
    """One VM. Maps are empty where VMs of a lab have no such device."""
    vm = _vm(call)
    controller, disk = vm.get("config.hardware.device")[:2]
    cpus = vm.get("config.hardware.numCPU")
    return {
        "name": vm.name,
        "power_state": _POWER[vm.row.power.value],
        "identity": {
            "name": vm.name,
            "bios_uuid": vm.uuid,
            "instance_uuid": vm.instance_uuid,
        },
        "guest_OS": "OTHER_64",
        "instant_clone_frozen": False,
        "hardware": {"version": "VMX_21", "upgrade_policy": "NEVER", "upgrade_status": "NONE"},
        "boot": {
            "type": "EFI", "efi_legacy_boot": False, "network_protocol": "IPV4", "delay": 0,
            "retry": False, "retry_delay": 10_000, "enter_setup_mode": False,
        },
        "boot_devices": [],
        "cpu": {
            "count": cpus, "cores_per_socket": 1, "hot_add_enabled": False,
            "hot_remove_enabled": False,
        },
        "memory": {"size_MiB": vm.get("config.hardware.memoryMB"), "hot_add_enabled": False},
        "disks": {
            str(disk.key): {
                "label": disk.deviceInfo.label,
                "type": "SCSI",
                "scsi": {"bus": 0, "unit": disk.unitNumber},
                "backing": {"type": "VMDK_FILE", "vmdk_file": disk.backing.fileName},
                "capacity": disk.capacityInBytes,
            }
        },
        "scsi_adapters": {
            str(controller.key): {
                "label": controller.deviceInfo.label,
                "type": "PVSCSI",
                "scsi": {"bus": 0, "unit": controller.scsiCtlrUnitNumber},
                "sharing": "NONE",
            }
        },
        **{name: {} for name in _ABSENT},
    }  # fmt: skip


_ABSENT = (
    "nics", "cdroms", "floppies", "parallel_ports", "serial_ports", "sata_adapters",
    "nvme_adapters",
)  # fmt: skip


async def show_power(call: VapiCall) -> Any:
    """The power of a VM; of one that is off, that it was powered off in order."""
    state = _POWER[_vm(call).row.power.value]
    return {"state": state, **({"clean_power_off": True} if state == "POWERED_OFF" else {})}


def _set_power(verb: str) -> Any:
    async def work(call: VapiCall) -> None:
        vm = _vm(call)
        commands: dict[str, list[Any]] = {
            "start": [c.VmOn((vm.name,))],
            "stop": [c.VmOff((vm.name,))],
            "reset": [c.VmOff((vm.name,)), c.VmOn((vm.name,))],
        }
        if verb not in commands:
            raise VapiError("unsupported", f"a lab cannot {verb} a VM")
        running = vm.row.power.value == "poweredOn"
        if (verb == "start") is running and verb != "reset":
            state = "on" if running else "off"
            raise VapiError("already_in_desired_state", f"the VM is powered {state} already")
        for command in commands[verb]:
            row = (await call.call.do(command)).items[0]
            if row.error_id:
                raise KeysteadError(row.error_id, row.error or "", fault=row.fault, keys=row.keys)

    return work


async def list_hosts(call: VapiCall) -> Any:
    """Hosts."""
    wanted = call.filter()
    return [
        {
            "host": host.id,
            "name": host.name,
            "connection_state": _CONNECTION[host.row.connection.value],
            **({"power_state": "POWERED_ON"} if host.connected else {}),
        }
        for host in call.inventory.hosts.values()
        if wanted.fits("names", host.name)
        and wanted.fits("hosts", host.id)
        and wanted.fits("clusters", host.parent.id)
        and wanted.fits("connection_states", _CONNECTION[host.row.connection.value])
    ]


async def list_clusters(call: VapiCall) -> Any:
    """Clusters."""
    wanted = call.filter()
    return [
        {
            "cluster": one.id,
            "name": one.name,
            "ha_enabled": one.row.ha,
            "drs_enabled": one.row.drs not in ("", "off"),
        }
        for one in call.inventory.clusters.values()
        if wanted.fits("names", one.name) and wanted.fits("clusters", one.id)
    ]


async def list_datacenters(call: VapiCall) -> Any:
    """The data center."""
    one, wanted = call.inventory.datacenter, call.filter()
    found = [{"datacenter": one.id, "name": one.name}]
    fits = wanted.fits("names", one.name) and wanted.fits("datacenters", one.id)
    return found if fits else []


_VM, _POWERED = "com.vmware.vcenter.VM", "com.vmware.vcenter.vm.power"
_VMS, _ONE = "/vcenter/vm", "/vcenter/vm/{vm}"


_OPTIONAL = Optional()
"""A field that need not be there; a field of no other shape is always there."""


def _summary(service: str, *fields: str, **shaped: Any) -> Listed:
    return Listed(VapiStructure(f"{service}.summary", dict.fromkeys(fields) | shaped))


def _of_vm(name: str, *fields: str, **shaped: Any) -> VapiStructure:
    return VapiStructure(f"com.vmware.vcenter.vm.{name}", dict.fromkeys(fields) | shaped)


_SCSI = _of_vm("hardware.scsi_address_info", "bus", "unit")
_DISK = _of_vm(
    "hardware.disk.info", "label", "type", ide=_OPTIONAL, sata=_OPTIONAL, nvme=_OPTIONAL,
    capacity=_OPTIONAL, scsi=Optional(_SCSI),
    backing=_of_vm("hardware.disk.backing_info", "type", vmdk_file=_OPTIONAL),
)  # fmt: skip
_ADAPTER = _of_vm(
    "hardware.adapter.scsi.info", "label", "type", "sharing", pci_slot_number=_OPTIONAL,
    scsi=_SCSI,
)  # fmt: skip
_INFO = VapiStructure(
    f"{_VM}.info",
    dict.fromkeys(("guest_OS", "name", "power_state", "boot_devices"))
    | {name: Mapped() for name in _ABSENT if name != "nvme_adapters"}
    | {
        "identity": Optional(_of_vm("identity.info", "name", "bios_uuid", "instance_uuid")),
        "instant_clone_frozen": Optional(),
        "hardware": _of_vm(
            "hardware.info", "version", "upgrade_policy", "upgrade_status",
            upgrade_version=_OPTIONAL, upgrade_error=_OPTIONAL,
        ),
        "boot": _of_vm(
            "hardware.boot.info", "type", "delay", "retry", "retry_delay", "enter_setup_mode",
            efi_legacy_boot=_OPTIONAL, network_protocol=_OPTIONAL,
        ),
        "cpu": _of_vm(
            "hardware.cpu.info", "count", "cores_per_socket", "hot_add_enabled",
            "hot_remove_enabled",
        ),
        "memory": _of_vm(
            "hardware.memory.info", "size_MiB", "hot_add_enabled",
            hot_add_increment_size_MiB=_OPTIONAL, hot_add_limit_MiB=_OPTIONAL,
        ),
        "disks": Mapped(_DISK),
        "scsi_adapters": Mapped(_ADAPTER),
        "nvme_adapters": Optional(Mapped()),
    },
)  # fmt: skip


OPERATIONS = (
    VapiOperation(
        _VM, "list", list_vms, "GET", _VMS, selects="filter", old=True,
        result=_summary(
            _VM, "vm", "name", "power_state", cpu_count=_OPTIONAL, memory_size_MiB=_OPTIONAL
        ),
    ),
    VapiOperation(_VM, "get", show_vm, "GET", _ONE, old=True, result=_INFO),
    VapiOperation(
        _POWERED, "get", show_power, "GET", f"{_ONE}/power", old=True,
        result=VapiStructure(f"{_POWERED}.info", {"state": None, "clean_power_off": Optional()}),
    ),
    *(
        VapiOperation(
            _POWERED, verb, _set_power(verb), "POST", f"{_ONE}/power?action={verb}", old=True,
            also=f"{_ONE}/power/{verb}",
        )
        for verb in ("start", "stop", "reset", "suspend")
    ),
    VapiOperation(
        "com.vmware.vcenter.host", "list", list_hosts, "GET", "/vcenter/host", selects="filter",
        old=True,
        result=_summary(
            "com.vmware.vcenter.host", "host", "name", "connection_state",
            power_state=_OPTIONAL, host_uuid=_OPTIONAL,
        ),
    ),
    VapiOperation(
        "com.vmware.vcenter.cluster", "list", list_clusters, "GET", "/vcenter/cluster",
        selects="filter", old=True,
        result=_summary(
            "com.vmware.vcenter.cluster", "cluster", "name", "ha_enabled", "drs_enabled"
        ),
    ),
    VapiOperation(
        "com.vmware.vcenter.datacenter", "list", list_datacenters, "GET", "/vcenter/datacenter",
        selects="filter", old=True,
        result=_summary("com.vmware.vcenter.datacenter", "datacenter", "name"),
    ),
)  # fmt: skip
