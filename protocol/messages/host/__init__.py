"""What an ESXi host serves: crypto manager, virtual machines, esxcli, and the guest's answers.

vCenter sends the commands inside a session that either side's boot ends; they are numbered,
and an old session or number is refused with ``NotConnected``. The local administrator (through
the lab's control plane) uses the same messages without a session.

- ``session``  commands, and the host's view of itself      - ``crypto``   mode, keys, providers
- ``vms``      virtual machines and their guests            - ``console``  esxcli
- ``maintenance``  maintenance mode                            - ``dumps``    core dumps
- ``attestation``  what the TPM says of itself and of the boot
"""

from __future__ import annotations

from protocol.messages.host.attestation import (
    LOG_LIMIT,
    ActivateTpmCredential,
    QueryTpmAttestationReport,
    TpmAttestationReport,
    TpmCredentialActivated,
)
from protocol.messages.host.console import (
    Esxcli,
    EsxcliResult,
    SaveConfiguration,
)
from protocol.messages.host.crypto import (
    RESULT_BYTES,
    STATUS_BYTES,
    AddKeys,
    ChangeHostKey,
    CryptoKeyResult,
    CryptoManagerHostDisable,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    EvictKeys,
    GetCryptoKeyStatus,
    KeysAdded,
    KeysEvicted,
    KeysRemoved,
    KeyStatus,
    KeyStatusList,
    RemoveKeys,
    RemoveProvider,
    SetProviders,
)
from protocol.messages.host.dumps import (
    DUMPS_LIMIT,
    MARKER_LIMIT,
    DecryptDump,
    Dump,
    DumpDecrypted,
    DumpList,
    DumpWritten,
    ListDumps,
    RemoveDump,
    WriteDump,
)
from protocol.messages.host.maintenance import (
    HostEnterMaintenanceMode,
    HostExitMaintenanceMode,
)
from protocol.messages.host.session import (
    CheckForUpdates,
    Command,
    Done,
    HostState,
    HostSummary,
    OpenSession,
    ProviderRef,
    QueryHost,
    SessionOpened,
    UpdateSet,
    VmSummary,
)
from protocol.messages.host.vms import (
    GuestAnswer,
    GuestChallenge,
    GuestWrite,
    HostCreateVm,
    HostDestroyVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    HostUnregisterVm,
    ReconfigureVm,
    VmState,
)

__all__ = [
    "DUMPS_LIMIT",
    "LOG_LIMIT",
    "MARKER_LIMIT",
    "RESULT_BYTES",
    "STATUS_BYTES",
    "ActivateTpmCredential",
    "AddKeys",
    "ChangeHostKey",
    "CheckForUpdates",
    "Command",
    "CryptoKeyResult",
    "CryptoManagerHostDisable",
    "CryptoManagerHostEnable",
    "CryptoManagerHostPrepare",
    "DecryptDump",
    "Done",
    "Dump",
    "DumpDecrypted",
    "DumpList",
    "DumpWritten",
    "Esxcli",
    "EsxcliResult",
    "EvictKeys",
    "GetCryptoKeyStatus",
    "GuestAnswer",
    "GuestChallenge",
    "GuestWrite",
    "HostCreateVm",
    "HostDestroyVm",
    "HostEnterMaintenanceMode",
    "HostExitMaintenanceMode",
    "HostPowerOffVm",
    "HostPowerOnVm",
    "HostRegisterVm",
    "HostState",
    "HostSummary",
    "HostUnregisterVm",
    "KeyStatus",
    "KeyStatusList",
    "KeysAdded",
    "KeysEvicted",
    "KeysRemoved",
    "ListDumps",
    "OpenSession",
    "ProviderRef",
    "QueryHost",
    "QueryTpmAttestationReport",
    "ReconfigureVm",
    "RemoveDump",
    "RemoveKeys",
    "RemoveProvider",
    "SaveConfiguration",
    "SessionOpened",
    "SetProviders",
    "TpmAttestationReport",
    "TpmCredentialActivated",
    "UpdateSet",
    "VmState",
    "VmSummary",
    "WriteDump",
]
