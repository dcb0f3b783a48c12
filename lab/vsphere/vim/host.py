"""``HostSystem`` as vCenter knows it, and vCenter's tasks on hosts."""

from __future__ import annotations

from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.vsphere.faults import key_text
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim import reflect
from lab.vsphere.vim.history import when
from lab.vsphere.vim.managed import HostAutoStartManager, build, operation, uuid_of
from lab.vsphere.vim.places import (
    HOST_CORES,
    HOST_MEMORY,
    HOST_MHZ,
    Entity,
    key_or_none,
)
from protocol.releases import api_version, release_of
from protocol.terms import HostConnectionState, NodeName

_BUILDS = {"7.0.3": "21930508", "8.0.3": "24022510", "9.0.0": "24755229"}


def product(host: Any) -> Any:
    """The ESXi release of a host as ``AboutInfo``."""
    release = release_of(host.row.version)
    version = ".".join(map(str, release))
    build = _BUILDS.get(version, "0")
    return vim.AboutInfo(
        name="VMware ESXi", fullName=f"VMware ESXi {version} build-{build}", vendor="VMware, Inc.",
        version=version, build=build, osType="vmnix-x86", productLineId="embeddedEsx",
        apiType="HostAgent", apiVersion=api_version(release), localeVersion="INTL",
        localeBuild="000",
        licenseProductName="VMware ESX Server", licenseProductVersion=version.split(".")[0] + ".0",
    )  # fmt: skip


def _attestation(host: Any) -> Any:
    """The last attestation. Of a host with a TPM that nobody has attested yet, that there was none:
    ``govc host.tpm.info`` crashes without it."""
    found = host.row.attestation
    if found is None and not host.row.tpm_present:
        return None
    status = found.status.value if found is not None else "notAccepted"
    message = found.message if found is not None else "no attestation of this host is known here"
    return vim.host.TpmAttestationInfo(
        time=when(found.time if found is not None else host.row.seen_at), status=status,
        message=vim.LocalizableMessage(key="keystead", message=message) if message else None,
    )  # fmt: skip


def _as_signed(value: bytes) -> list[int]:
    """Bytes as the API has them: each a number from -128 to 127."""
    return [support.byte((byte ^ 0x80) - 0x80) for byte in value]


def _capability(host: Any) -> Any:
    has = host.row.tpm_present
    return vim.host.Capability(
        rebootSupported=True, shutdownSupported=True, maintenanceModeSupported=True,
        vmotionSupported=True, sanSupported=True, tpmSupported=has,
        tpmVersion="2.0" if has else None, txtEnabled=has, cryptoSupported=True,
        hostConfigEncryptionSupported=has,
    )  # fmt: skip


def _network(host: Any) -> Any:
    """A name, and no interface: addresses of a lab's hosts are not modelled."""
    dns = vim.host.DnsConfig(dhcp=False, hostName=host.name, domainName="")
    return vim.host.NetworkInfo(dnsConfig=dns)


def _packages(host: Any) -> list[Any]:
    return [
        vim.host.CpuPackage(
            index=0, vendor="intel", hz=HOST_MHZ * 1_000_000, busHz=100_000_000,
            description="keystead", threadId=list(range(HOST_CORES)),
        )
    ]  # fmt: skip


_ZERO = ":".join(["0000"] * 8)
_LONG_MODE = [
    vim.host.CpuIdInfo(level=-2147483647, eax=_ZERO, ebx=_ZERO, ecx=_ZERO, edx="0010" + _ZERO[4:])
]


class HostSystem(Entity):
    """A host."""

    kind = vim.HostSystem
    properties = {
        "runtime.connectionState": lambda h: h.row.connection.value,
        "runtime.powerState": lambda h: h.power,
        "runtime.inMaintenanceMode": lambda h: h.row.in_maintenance_mode,
        "runtime.standbyMode": lambda h: "none",
        "runtime.bootTime": lambda h: None,
        "runtime.cryptoState": lambda h: h.row.crypto_state.value if h.row.crypto_state else None,
        "runtime.cryptoKeyId": lambda h: key_or_none(h.row.crypto_key_id),
        "summary.host": lambda h: h.ref,
        "summary.hardware.vendor": lambda h: "keystead",
        "summary.hardware.model": lambda h: "lab",
        "summary.hardware.uuid": lambda h: h.uuid,
        "summary.hardware.memorySize": lambda h: HOST_MEMORY,
        "summary.hardware.cpuModel": lambda h: "keystead",
        "summary.hardware.cpuMhz": lambda h: HOST_MHZ,
        "summary.hardware.numCpuPkgs": lambda h: 1,
        "summary.hardware.numCpuCores": lambda h: HOST_CORES,
        "summary.hardware.numCpuThreads": lambda h: HOST_CORES,
        "summary.hardware.numNics": lambda h: 1,
        "summary.hardware.numHBAs": lambda h: 0,
        "summary.runtime": lambda h: h.get("runtime"),
        "summary.config.name": lambda h: h.name,
        "summary.config.port": lambda h: 443,
        "summary.config.product": product,
        "summary.config.vmotionEnabled": lambda h: True,
        "summary.config.faultToleranceEnabled": lambda h: False,
        "summary.quickStats.overallCpuUsage": lambda h: 0,
        "summary.quickStats.overallMemoryUsage": lambda h: 0,
        "summary.quickStats.uptime": lambda h: 0,
        "summary.overallStatus": lambda h: h.status,
        "summary.rebootRequired": lambda h: False,
        "summary.managementServerIp": lambda h: "127.0.0.1",
        "summary.tpmAttestation": _attestation,
        "hardware.systemInfo.vendor": lambda h: "keystead",
        "hardware.systemInfo.model": lambda h: "lab",
        "hardware.systemInfo.uuid": lambda h: h.uuid,
        "hardware.cpuInfo.numCpuPackages": lambda h: 1,
        "hardware.cpuInfo.numCpuCores": lambda h: HOST_CORES,
        "hardware.cpuInfo.numCpuThreads": lambda h: HOST_CORES,
        "hardware.cpuInfo.hz": lambda h: HOST_MHZ * 1_000_000,
        "hardware.cpuPkg": _packages,
        "hardware.cpuFeature": lambda h: _LONG_MODE,  # libvirt asks whether hosts are 64-bit
        "hardware.memorySize": lambda h: HOST_MEMORY,
        "hardware.biosInfo": lambda h: vim.host.BIOSInfo(
            biosVersion="1", vendor="keystead", firmwareType="UEFI"
        ),
        "hardware.smcPresent": lambda h: False,
        "config.host": lambda h: h.ref,
        "config.product": product,
        "config.network": _network,
        "config.hyperThread": lambda h: vim.host.CpuSchedulerSystem.HyperThreadScheduleInfo(
            available=False, active=False, config=False
        ),
        "capability": _capability,
        "licensableResource": lambda h: vim.LicenseManager.LicensableResourceInfo(
            resource=[vim.KeyAnyValue(key="numCpuPackages", value=1)]
        ),
        "configManager.autoStartManager": lambda h: HostAutoStartManager(h).ref,
        "vm": lambda h: [v.ref for v in h.inventory.vms_on[h.name]],
        "datastore": lambda h: [h.inventory.datastores[str(h.row.cluster)].ref],
        "network": lambda h: [h.inventory.network.ref],
    }

    def __init__(self, inventory: Any, row: answers.Host) -> None:
        super().__init__(inventory, inventory.id_of("host", row.host, "host-"))
        self.row, self.name = row, str(row.host)

    @property
    def parent(self) -> Any:
        """Its cluster."""
        return self.inventory.clusters[str(self.row.cluster)]

    @property
    def connected(self) -> bool:
        """Whether vCenter has a connection to it."""
        return self.row.connection is HostConnectionState.CONNECTED

    @property
    def power(self) -> str:
        """What vCenter knows of its power: nothing while it does not answer."""
        return "poweredOn" if self.connected else "unknown"

    @property
    def status(self) -> str:
        """``red`` while it does not respond or an alarm of it is on."""
        silent = self.row.connection is HostConnectionState.NOT_RESPONDING
        return "red" if silent else super().status

    @property
    def uuid(self) -> str:
        """The UUID of its hardware."""
        return uuid_of(self.inventory.lab, "host", self.name)

    # ---- operations

    @operation
    async def RetrieveDynamicTypeManager(self, request: ApiRequest) -> Any:
        """What tells the types of esxcli on this host."""
        return reflect.DYNAMIC_TYPE_MANAGER(f"{reflect.TYPE_MANAGER}-{self.id}")

    @operation
    async def RetrieveManagedMethodExecuter(self, request: ApiRequest) -> Any:
        """What carries out esxcli on this host."""
        return reflect.METHOD_EXECUTER(f"{reflect.EXECUTER}-{self.id}")

    async def _start(self, request: ApiRequest, name: str, command: Any) -> Any:
        async def work(do: Any) -> None:
            await do(command)

        return await request.start(self, name, work)

    @operation
    async def RebootHost_Task(self, request: ApiRequest, force: bool = False) -> Any:
        """Reboot it."""
        return await self._start(request, "RebootHost_Task", c.HostReboot((self.name,)))

    @operation
    async def ShutdownHost_Task(self, request: ApiRequest, force: bool = False) -> Any:
        """Power it off."""
        return await self._start(request, "ShutdownHost_Task", c.HostPowerOff((self.name,)))

    @operation
    async def DisconnectHost_Task(self, request: ApiRequest) -> Any:
        """Let it alone until it is reconnected."""
        return await self._start(request, "DisconnectHost_Task", c.HostDisconnect((self.name,)))

    @operation
    async def ReconnectHost_Task(
        self, request: ApiRequest, cnxSpec: Any = None, reconnectSpec: Any = None
    ) -> Any:
        """Connect it now."""
        return await self._start(request, "ReconnectHost_Task", c.HostReconnect((self.name,)))

    @operation
    async def EnterMaintenanceMode_Task(
        self, request: ApiRequest, timeout: int = 0, evacuatePoweredOffVms: bool | None = None,
        maintenanceSpec: Any = None,
    ) -> Any:  # fmt: skip
        """No VM comes to it or starts there until it leaves the mode."""
        command = c.HostEnterMaintenance((self.name,), evacuate=bool(evacuatePoweredOffVms))
        return await self._start(request, "EnterMaintenanceMode_Task", command)

    @operation
    async def ExitMaintenanceMode_Task(self, request: ApiRequest, timeout: int = 0) -> Any:
        """VMs may come again."""
        command = c.HostExitMaintenance((self.name,))
        return await self._start(request, "ExitMaintenanceMode_Task", command)

    @operation
    async def Destroy_Task(self, request: ApiRequest) -> Any:
        """Take it and its VMs out of the inventory; the machine stays as it is."""
        return await self._start(request, "Destroy_Task", c.HostRemove((self.name,)))

    @operation
    async def QueryTpmAttestationReport(self, request: ApiRequest) -> Any:
        """The PCRs of its TPM; None without a TPM. There is no log of events."""
        if not self.connected:
            raise vmodl.fault.HostNotConnected(msg=f"{self.name} is not connected")
        if not self.row.tpm_present:
            return None
        pcrs = (await request.ask(c.TpmPcrs(NodeName(self.name)))).pcrs
        values = [
            vim.host.TpmDigestInfo(
                pcrNumber=int(pcr),
                digestMethod="SHA256",
                digestValue=_as_signed(bytes.fromhex(value)),
            )
            for pcr, value in pcrs.items()
        ]
        return build(vim.host.TpmAttestationReport, tpmPcrValues=values, tpmLogReliable=False)

    @operation
    async def PrepareCrypto(self, request: ApiRequest) -> None:
        """It may receive keys from now on."""
        await request.do(c.HostPrepareCrypto(self.name))

    @operation
    async def ConfigureCryptoKey(self, request: ApiRequest, keyId: Any = None) -> None:
        """Make it safe: push keys, unlock its VMs."""
        await request.do(c.HostEnableCrypto(self.name, key_text(keyId)))
