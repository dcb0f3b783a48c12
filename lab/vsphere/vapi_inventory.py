"""vAPI: VMs with their power, hosts, clusters, the data center."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.vsphere.vapi import (
    Listed,
    Operation,
    Optional,
    Structure,
    VapiCall,
    VapiError,
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
    """One VM, in its essentials."""
    vm = _vm(call)
    return {
        "name": vm.name,
        "power_state": _POWER[vm.row.power.value],
        "identity": {
            "name": vm.name,
            "bios_uuid": vm.uuid,
            "instance_uuid": vm.instance_uuid,
        },
        "guest_OS": "OTHER_64",
        "cpu": {"count": vm.get("config.hardware.numCPU"), "cores_per_socket": 1},
        "memory": {"size_MiB": vm.get("config.hardware.memoryMB")},
    }


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


def _summary(service: str, *fields: str, optional: tuple[str, ...] = ()) -> Listed:
    shapes = dict.fromkeys(fields) | {name: Optional() for name in optional}
    return Listed(Structure(f"{service}.summary", shapes))


OPERATIONS = (
    Operation(
        _VM, "list", list_vms, "GET", _VMS, selects="filter", old=True,
        result=_summary(
            _VM, "vm", "name", "power_state", optional=("cpu_count", "memory_size_MiB")
        ),
    ),
    Operation("", "get", show_vm, "GET", _ONE, old=True),
    Operation(
        _POWERED, "get", show_power, "GET", f"{_ONE}/power", old=True,
        result=Structure(f"{_POWERED}.info", {"state": None, "clean_power_off": Optional()}),
    ),
    *(
        Operation(
            _POWERED, verb, _set_power(verb), "POST", f"{_ONE}/power?action={verb}", old=True,
            also=f"{_ONE}/power/{verb}",
        )
        for verb in ("start", "stop", "reset", "suspend")
    ),
    Operation(
        "com.vmware.vcenter.host", "list", list_hosts, "GET", "/vcenter/host", selects="filter",
        old=True,
        result=_summary(
            "com.vmware.vcenter.host", "host", "name", "connection_state",
            optional=("power_state", "host_uuid"),
        ),
    ),
    Operation(
        "com.vmware.vcenter.cluster", "list", list_clusters, "GET", "/vcenter/cluster",
        selects="filter", old=True,
        result=_summary(
            "com.vmware.vcenter.cluster", "cluster", "name", "ha_enabled", "drs_enabled"
        ),
    ),
    Operation(
        "com.vmware.vcenter.datacenter", "list", list_datacenters, "GET", "/vcenter/datacenter",
        selects="filter", old=True,
        result=_summary("com.vmware.vcenter.datacenter", "datacenter", "name"),
    ),
)  # fmt: skip
