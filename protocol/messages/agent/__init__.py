"""What the lab sends to an agent, on the control broker that no fault touches.

One agent per OS process holds nodes: it powers them on and off, ends them, keeps their link rules,
and is the local console of each (``Ask``). In the simulation one agent holds all nodes.

- ``nodes``    the nodes: specification, state, power and logs
- ``machine``  what is below a node: TPM, firmware, disk, clock
- ``console``  the local console of a node
- ``links``    rules of links, and canaries
- ``service_times``  how long a node works on what
"""

from __future__ import annotations

from protocol.messages.agent.console import (
    Answer,
    Answers,
    Ask,
    AskEach,
)
from protocol.messages.agent.links import (
    Canary,
    CanaryResult,
    CutRule,
    DelayRule,
    DuplicateRule,
    LinkRule,
    LossRule,
    ResetRule,
    SetRules,
    StallRule,
)
from protocol.messages.agent.machine import (
    BootBanks,
    DiskAct,
    DiskAction,
    Firmware,
    FirmwareEvent,
    SetFirmware,
    SkewClock,
    TpmAct,
    TpmActed,
    TpmAction,
    TpmBackend,
)
from protocol.messages.agent.nodes import (
    AddNode,
    HoldNode,
    ListNodes,
    NodeList,
    NodePowered,
    NodeRecord,
    NodeRunState,
    NodeSpec,
    NodeStatus,
    PowerOff,
    PowerOn,
    RuleCount,
)
from protocol.messages.agent.service_times import (
    Distribution,
    ServiceTime,
    ServiceTimes,
    SharedMachine,
    Slowdown,
    SlowNode,
)

__all__ = [
    "AddNode",
    "Answer",
    "Answers",
    "Ask",
    "AskEach",
    "BootBanks",
    "Canary",
    "CanaryResult",
    "CutRule",
    "DelayRule",
    "DiskAct",
    "DiskAction",
    "Distribution",
    "DuplicateRule",
    "Firmware",
    "FirmwareEvent",
    "HoldNode",
    "LinkRule",
    "ListNodes",
    "LossRule",
    "NodeList",
    "NodePowered",
    "NodeRecord",
    "NodeRunState",
    "NodeSpec",
    "NodeStatus",
    "PowerOff",
    "PowerOn",
    "ResetRule",
    "RuleCount",
    "ServiceTime",
    "ServiceTimes",
    "SetFirmware",
    "SetRules",
    "SharedMachine",
    "SkewClock",
    "SlowNode",
    "Slowdown",
    "StallRule",
    "TpmAct",
    "TpmActed",
    "TpmAction",
    "TpmBackend",
]
