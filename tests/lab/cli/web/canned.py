"""A lab of any size whose answers are made up: for drawing, not for what a lab does."""

from __future__ import annotations

from typing import Any

import msgspec

from chaos.lab import Directory, NodeEntry
from lab.schema.answers import (
    ActiveFault,
    EventList,
    FaultList,
    Host,
    HostList,
    LabStatus,
    LinkList,
    MachineState,
    Node,
    NodeList,
    Vm,
    VmList,
)
from lab.schema.commands import (
    Command,
    GetDirectory,
    GetEvents,
    GetFaults,
    GetHosts,
    GetLinks,
    GetNodes,
    GetStatus,
    GetVms,
)
from lab.schema.errors import KeysteadError
from protocol.terms import (
    ClusterName,
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    Role,
    VmConnectionState,
    VmCryptoState,
    VmName,
)

CLUSTER = ClusterName("cluster-a")


class CannedLab:
    """``hosts`` with two VMs each: one host is off and one VM is locked. ``odd`` is the name of a
    VM more; ``away``: the lab does not answer; ``broken``: its client has a defect."""

    broken = False

    virtual = False

    def __init__(self, hosts: int, *, odd: str = "", away: bool = False) -> None:
        self.away = away
        names = [NodeName(f"esxi-{n:03}") for n in range(1, hosts + 1)]
        off = names[1]
        self._nodes = [
            Node(
                node=name,
                role=Role.ESXI if name in names else Role.KMS if name == "kms" else Role.VCENTER,
                site="main",
                cluster=CLUSTER if name in names else ClusterName(""),
                state=MachineState.OFF if name == off else MachineState.RUNNING,
                boot=1,
            )
            for name in (NodeName("kms"), NodeName("vcenter"), *names)
        ]
        self._hosts = [
            Host(
                host=name,
                cluster=CLUSTER,
                connection=HostConnectionState.CONNECTED,
                crypto_state=HostCryptoState.SAFE,
                cached_keys=3,
                key_persistence=True,
                machine=MachineState.OFF if name == off else MachineState.RUNNING,
            )
            for name in names
        ]
        vms = [VmName(f"vm-{n:04}") for n in range(1, 2 * hosts + 1)]
        self._vms = [
            Vm(
                vm=name,
                cluster=CLUSTER,
                host=names[n % hosts],
                power=PowerState.ON,
                connection=VmConnectionState.CONNECTED,
                crypto=VmCryptoState.UNLOCKED if n else VmCryptoState.LOCKED,
            )
            for n, name in enumerate([*vms, VmName(odd)] if odd else vms)
        ]

    def count(self, name: NodeName, **counters: int) -> None:
        """Have a node say that it counted this."""
        self._nodes = [
            msgspec.structs.replace(node, counters=counters) if node.node == name else node
            for node in self._nodes
        ]

    async def do(self, command: Command[Any], vcenter: str = "", user: str = "") -> Any:
        """The answer to a look; every other command is refused."""
        if self.away:
            raise KeysteadError("KS-LAB-001", "the lab is stopped", "keystead up")
        if self.broken:
            raise ZeroDivisionError("a defect")
        match command:
            case GetStatus():
                state = MachineState.RUNNING
                return LabStatus(
                    name="default", mode="lab", pace=30.0, lab_time=60.0,
                    nodes={state: len(self._nodes)}, faults=("cut",), vcenter=state,
                )  # fmt: skip
            case GetNodes():
                return NodeList(items=tuple(self._nodes))
            case GetHosts():
                return HostList(items=tuple(self._hosts))
            case GetVms():
                return VmList(items=tuple(self._vms))
            case GetEvents():
                return EventList(items=())
            case GetLinks():
                return LinkList(items=())
            case GetFaults():
                fault = ActiveFault(
                    id="cut", kind="link.cut", summary="cut", since=1.0, until=360.0, state="active"
                )
                return FaultList(items=(fault,))
            case GetDirectory():
                entries = [
                    NodeEntry(node=n.node, role=n.role, site=n.site, cluster=n.cluster)
                    for n in self._nodes
                ]
                return Directory(
                    nodes=tuple(entries), vms=tuple(vm.vm for vm in self._vms)
                )  # the rest is of no picture
        raise KeysteadError("KS-USE-002", "this lab only looks as one")

    async def sleep(self, seconds: float) -> None:
        """Time is not played."""
