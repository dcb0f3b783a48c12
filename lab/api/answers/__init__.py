"""What a lab answers: one frozen struct per kind, the same for every way in.

``kind`` of a document is the name of its struct. A key is written ``provider/id``.

- ``base``       ``Answer``, ``KeyRef``, states of machines
- ``inventory``  hosts, VMs, key providers, keys
- ``hosts``      power, esxcli, TPM
- ``lab``        nodes, links, events, status
- ``faults``     faults and healing
- ``describe``   descriptions with reasons
- ``local``      what is answered without asking a lab
"""

from lab.api.answers.base import Answer, KeyRef, MachineState
from lab.api.answers.describe import (
    EventLine,
    HostDescription,
    KeyOfVm,
    KeyOnHost,
    ProviderDescription,
    Reason,
    VmDescription,
)
from lab.api.answers.faults import (
    ActiveFault,
    Fault,
    FaultLeft,
    FaultList,
    HealReport,
    RunStopped,
)
from lab.api.answers.hosts import (
    EsxcliResult,
    HostPaused,
    HostPauseList,
    HostPower,
    HostPowerList,
    Pcrs,
    Tpm,
    TpmList,
    TpmState,
)
from lab.api.answers.inventory import (
    Attestation,
    AuditList,
    GuestAnswer,
    Host,
    HostList,
    HostView,
    Key,
    KeyList,
    KeyServer,
    KeyServerList,
    KeyStatus,
    KnownProvider,
    Provider,
    ProviderList,
    Vm,
    VmList,
    VmOnHost,
    VmPower,
    VmPowerList,
)
from lab.api.answers.lab import (
    EventList,
    LabStatus,
    Link,
    LinkList,
    LinkState,
    LoggedEvent,
    LogLine,
    Node,
    NodeList,
    Process,
    RuleOnLink,
    VmCounts,
)

__all__ = [
    "ActiveFault",
    "Answer",
    "Attestation",
    "AuditList",
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
    "HostView",
    "Key",
    "KeyList",
    "KeyOfVm",
    "KeyOnHost",
    "KeyRef",
    "KeyServer",
    "KeyServerList",
    "KeyStatus",
    "KnownProvider",
    "LabStatus",
    "Link",
    "LinkList",
    "LinkState",
    "LogLine",
    "LoggedEvent",
    "MachineState",
    "Node",
    "NodeList",
    "Pcrs",
    "Process",
    "Provider",
    "ProviderDescription",
    "ProviderList",
    "Reason",
    "RuleOnLink",
    "RunStopped",
    "Tpm",
    "TpmList",
    "TpmState",
    "Vm",
    "VmCounts",
    "VmDescription",
    "VmList",
    "VmOnHost",
    "VmPower",
    "VmPowerList",
]
