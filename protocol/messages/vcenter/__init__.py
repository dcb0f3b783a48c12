"""What vCenter serves: to vSphere clients (through the control plane) and to its hosts.

- ``hosts``      the inventory of hosts, and the doorbell that they ring
- ``vms``        the inventory of VMs, and the tasks on them
- ``providers``  key providers       - ``keys``  their keys       - ``events``  the event log
"""

from __future__ import annotations

from protocol.messages.vcenter.events import EventList, ListEvents, VcEvent
from protocol.messages.vcenter.hosts import (
    AddHost,
    ClearTpmRecord,
    ConfigureCryptoKey,
    DisableCrypto,
    HostAdded,
    HostChanged,
    HostInfo,
    HostList,
    ListHosts,
    PrepareCrypto,
    RemoveHost,
    SetCryptoMode,
    TpmAttestation,
)
from protocol.messages.vcenter.keys import (
    CryptoKeyStatus,
    CryptoKeyStatusList,
    GenerateKey,
    KeyGenerated,
    QueryCryptoKeyStatus,
)
from protocol.messages.vcenter.providers import (
    KmipServer,
    ListKmsClusters,
    MarkDefault,
    ProviderInfo,
    ProviderList,
    ProviderState,
    RegisterKmsCluster,
    UnregisterKmsCluster,
)
from protocol.messages.vcenter.vms import (
    CreateVm,
    CryptoUnlock,
    DestroyVm,
    EncryptVm,
    ListVms,
    PowerOffVm,
    PowerOnVm,
    RegisterVm,
    UnregisterVm,
    VmCreated,
    VmEncrypted,
    VmInfo,
    VmList,
    VmPowered,
    VmRegistered,
)

__all__ = [
    "AddHost",
    "ClearTpmRecord",
    "ConfigureCryptoKey",
    "CreateVm",
    "CryptoKeyStatus",
    "CryptoKeyStatusList",
    "CryptoUnlock",
    "DisableCrypto",
    "DestroyVm",
    "EncryptVm",
    "EventList",
    "GenerateKey",
    "HostAdded",
    "HostChanged",
    "HostInfo",
    "HostList",
    "KeyGenerated",
    "KmipServer",
    "ListEvents",
    "ListHosts",
    "ListKmsClusters",
    "ListVms",
    "MarkDefault",
    "PowerOffVm",
    "PowerOnVm",
    "PrepareCrypto",
    "ProviderInfo",
    "ProviderList",
    "ProviderState",
    "QueryCryptoKeyStatus",
    "RegisterKmsCluster",
    "RegisterVm",
    "RemoveHost",
    "SetCryptoMode",
    "TpmAttestation",
    "UnregisterKmsCluster",
    "UnregisterVm",
    "VcEvent",
    "VmCreated",
    "VmEncrypted",
    "VmInfo",
    "VmList",
    "VmPowered",
    "VmRegistered",
]
