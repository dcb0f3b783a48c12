"""What can be asked of a lab: one frozen struct per command, typed by its answer.

A struct checks itself when it is made, so that every way in refuses the same wrong values. Its
name is made of the words of the command line: ``keystead vm encrypt`` is ``VmEncrypt``.

- ``base``         ``Command``: its name, its answer
- ``look``         get hosts, vms, events, status, ...
- ``hosts``        power, esxcli, TPM
- ``at_host``      what a host's own administrator does there
- ``inventory``    hosts and VMs that come into vCenter's inventory and leave it
- ``vms``          create, encrypt, on, off, unlock; the guest
- ``keys``         key servers and key providers
- ``crypto``       modes of hosts and clusters, the keys that vCenter knows, alarms
- ``faults``       links, every other fault, healing
- ``describe``     everything known of one object
- ``experiments``  an experiment on this lab
"""

from lab.api.commands.at_host import (
    HostDumpDecrypt,
    HostDumpList,
    HostDumpRemove,
    HostDumpWrite,
    HostRemoveKeys,
)
from lab.api.commands.base import Command, answer_type, name_of
from lab.api.commands.crypto import (
    ClusterCryptoMode,
    ClusterDefaultProvider,
    GetAlarms,
    GetClusters,
    HostDisableCrypto,
    HostEnableCrypto,
    HostPrepareCrypto,
    KeyAdd,
    KeyGenerate,
    KeyIds,
    KeyRemove,
)
from lab.api.commands.describe import DescribeHost, DescribeProvider, DescribeVm
from lab.api.commands.experiments import ChaosPlay, ChaosStop, GetDirectory
from lab.api.commands.faults import (
    FaultInject,
    GetFaults,
    Heal,
    LinkCut,
    LinkDelay,
    LinkDup,
    LinkHeal,
    LinkLoss,
)
from lab.api.commands.hosts import (
    Esx,
    HostClearTpm,
    HostCrash,
    HostPause,
    HostPowerLoss,
    HostPowerOff,
    HostPowerOn,
    HostReboot,
    HostResume,
    TpmClear,
    TpmInspect,
    TpmLockout,
    TpmPcrs,
    TpmSwap,
)
from lab.api.commands.inventory import (
    HostAdd,
    HostDisconnect,
    HostEnterMaintenance,
    HostExitMaintenance,
    HostReconnect,
    HostRemove,
    VmDestroy,
    VmRegister,
    VmUnregister,
)
from lab.api.commands.keys import (
    KmsBackup,
    KmsKeyActivate,
    KmsKeyDestroy,
    KmsKeyRevoke,
    KmsKeyShow,
    KmsRestore,
    ProviderAdd,
    ProviderDefault,
    ProviderDelete,
)
from lab.api.commands.look import (
    GetAudit,
    GetEvents,
    GetHosts,
    GetHostView,
    GetKeys,
    GetKms,
    GetLinks,
    GetNodes,
    GetProviders,
    GetStatus,
    GetTpm,
    GetVms,
)
from lab.api.commands.vms import (
    VmCreate,
    VmEncrypt,
    VmGuestChallenge,
    VmGuestWrite,
    VmOff,
    VmOn,
    VmUnlock,
)

__all__ = [
    "ChaosPlay",
    "ChaosStop",
    "ClusterCryptoMode",
    "ClusterDefaultProvider",
    "Command",
    "DescribeHost",
    "DescribeProvider",
    "DescribeVm",
    "Esx",
    "FaultInject",
    "GetAlarms",
    "GetAudit",
    "GetClusters",
    "GetDirectory",
    "GetEvents",
    "GetFaults",
    "GetHostView",
    "GetHosts",
    "GetKeys",
    "GetKms",
    "GetLinks",
    "GetNodes",
    "GetProviders",
    "GetStatus",
    "GetTpm",
    "GetVms",
    "Heal",
    "HostAdd",
    "HostClearTpm",
    "HostCrash",
    "HostDisableCrypto",
    "HostDisconnect",
    "HostDumpDecrypt",
    "HostDumpList",
    "HostDumpRemove",
    "HostDumpWrite",
    "HostEnableCrypto",
    "HostEnterMaintenance",
    "HostExitMaintenance",
    "HostPause",
    "HostPowerLoss",
    "HostPowerOff",
    "HostPowerOn",
    "HostPrepareCrypto",
    "HostReboot",
    "HostReconnect",
    "HostRemove",
    "HostRemoveKeys",
    "HostResume",
    "KeyAdd",
    "KeyGenerate",
    "KeyIds",
    "KeyRemove",
    "KmsBackup",
    "KmsKeyActivate",
    "KmsKeyDestroy",
    "KmsKeyRevoke",
    "KmsKeyShow",
    "KmsRestore",
    "LinkCut",
    "LinkDelay",
    "LinkDup",
    "LinkHeal",
    "LinkLoss",
    "ProviderAdd",
    "ProviderDefault",
    "ProviderDelete",
    "TpmClear",
    "TpmInspect",
    "TpmLockout",
    "TpmPcrs",
    "TpmSwap",
    "VmCreate",
    "VmDestroy",
    "VmEncrypt",
    "VmGuestChallenge",
    "VmGuestWrite",
    "VmOff",
    "VmOn",
    "VmRegister",
    "VmUnlock",
    "VmUnregister",
    "answer_type",
    "name_of",
]
