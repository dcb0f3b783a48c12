"""What a lab answers: one frozen struct per kind, the same for every way in.

``kind`` of a document is the name of its struct. A key is written ``provider/id``.

- ``base``       ``Answer``, ``KeyRef``, states of machines
- ``inventory``  hosts, VMs
- ``keys``       key providers, keys, key servers
- ``disks``      disks of VMs
- ``hosts``      power, esxcli, TPM
- ``lab``        nodes, links, events, status
- ``faults``     faults and healing
- ``describe``   descriptions with reasons
- ``experiments``  several experiments, played by one command
- ``fuzz``       campaigns and what they found
- ``machines``   machines that a lab stands on
- ``local``      what is answered without asking a lab
- ``matrix``     the truth table, played
- ``mobility``   what a VM's move came to
- ``roles``      roles, and users who have them
- ``vsan``       vSAN encryption, its objects and their health
- ``vcenters``   backups of vCenters
- ``trust``      Trust Authority, as both vCenters tell of it
- ``conformance``  assertions, played
- ``kmip``       conversations of KMIP, played    - ``kmip_trust``  trust of KMIP servers
- ``replay``     a verdict on a key server of anybody's
- ``load``       figures of a load
- ``sweep``      stores, struck at their storage calls
"""

from lab.schema.answers.base import Answer, KeyRef, MachineState
from lab.schema.answers.describe import (
    EventLine,
    HostDescription,
    KeyOfVm,
    KeyOnHost,
    ProviderDescription,
    ProviderServer,
    Reason,
    VirtualTpm,
    VmDescription,
)
from lab.schema.answers.disks import VmDisk, VmDisks
from lab.schema.answers.faults import (
    ActiveFault,
    Fault,
    FaultLeft,
    FaultList,
    HealReport,
    RunStopped,
)
from lab.schema.answers.hosts import (
    Dump,
    DumpContent,
    DumpList,
    EsxcliResult,
    HostPaused,
    HostPauseList,
    HostPower,
    HostPowerList,
    Pcrs,
    RemovedKey,
    RemovedKeyList,
    Tpm,
    TpmList,
    TpmState,
)
from lab.schema.answers.inventory import (
    Alarm,
    AlarmList,
    Attestation,
    Cluster,
    ClusterList,
    GuestAnswer,
    Host,
    HostList,
    HostRemoval,
    HostRemovalList,
    HostView,
    KnownProvider,
    Vm,
    VmList,
    VmOnHost,
    VmPower,
    VmPowerList,
    VmRemoval,
    VmRemovalList,
)
from lab.schema.answers.keys import (
    AuditList,
    Key,
    KeyAttribute,
    KeyBackup,
    KeyList,
    KeyServer,
    KeyServerList,
    KeyStatus,
    KnownKey,
    KnownKeyList,
    Provider,
    ProviderBackup,
    ProviderList,
)
from lab.schema.answers.kmip_trust import (
    KmsIdentity,
    KmsIdentityList,
    ProviderTrustList,
    ServerTrust,
    SigningRequest,
)
from lab.schema.answers.lab import (
    EventList,
    LabStatus,
    Link,
    LinkList,
    LinkState,
    LoggedEvent,
    LogLine,
    LoopStood,
    Node,
    NodeList,
    Process,
    RuleOnLink,
    Task,
    TaskList,
    VmCounts,
)
from lab.schema.answers.machines import LabMachine, MachineBundle, MachineList, MachineStanding
from lab.schema.answers.mobility import Migration
from lab.schema.answers.roles import (
    Role,
    RoleList,
    User,
    UserList,
)
from lab.schema.answers.trust import (
    TrustAdminList,
    TrustAdmins,
    TrustAuthority,
    TrustedHostList,
    TrustedHostState,
    TrustFile,
)
from lab.schema.answers.vcenters import VcenterCopy
from lab.schema.answers.vsan import Vsan, VsanHealthReport, VsanObjectContent

__all__ = [
    "ActiveFault",
    "Alarm",
    "AlarmList",
    "Answer",
    "Attestation",
    "AuditList",
    "Cluster",
    "ClusterList",
    "Dump",
    "DumpContent",
    "DumpList",
    "EsxcliResult",
    "EventLine",
    "EventList",
    "Fault",
    "FaultLeft",
    "FaultList",
    "GuestAnswer",
    "HealReport",
    "Host",
    "HostDescription",
    "HostList",
    "HostPauseList",
    "HostPaused",
    "HostPower",
    "HostPowerList",
    "HostRemoval",
    "HostRemovalList",
    "HostView",
    "Key",
    "KeyAttribute",
    "KeyBackup",
    "KeyList",
    "KeyOfVm",
    "KeyOnHost",
    "KeyRef",
    "KeyServer",
    "KeyServerList",
    "KeyStatus",
    "KmsIdentity",
    "KmsIdentityList",
    "KnownKey",
    "KnownKeyList",
    "KnownProvider",
    "LabMachine",
    "LabStatus",
    "Link",
    "LinkList",
    "LinkState",
    "LogLine",
    "LoggedEvent",
    "LoopStood",
    "MachineBundle",
    "MachineList",
    "MachineStanding",
    "MachineState",
    "Migration",
    "Node",
    "NodeList",
    "Pcrs",
    "Process",
    "Provider",
    "ProviderBackup",
    "ProviderDescription",
    "ProviderList",
    "ProviderServer",
    "ProviderTrustList",
    "Reason",
    "RemovedKey",
    "RemovedKeyList",
    "Role",
    "RoleList",
    "RuleOnLink",
    "RunStopped",
    "ServerTrust",
    "SigningRequest",
    "Task",
    "TaskList",
    "Tpm",
    "TpmList",
    "TpmState",
    "TrustAdminList",
    "TrustAdmins",
    "TrustAuthority",
    "TrustFile",
    "TrustedHostList",
    "TrustedHostState",
    "User",
    "UserList",
    "VcenterCopy",
    "VirtualTpm",
    "Vm",
    "VmCounts",
    "VmDescription",
    "VmDisk",
    "VmDisks",
    "VmList",
    "VmOnHost",
    "VmPower",
    "VmPowerList",
    "VmRemoval",
    "VmRemovalList",
    "Vsan",
    "VsanHealthReport",
    "VsanObjectContent",
]
