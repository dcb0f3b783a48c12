"""From an empty lab to a ready one, in a vSphere administrator's order; safe to repeat: each step
converges, and has the same operation id on each try.

1. power on key servers and vCenter, then hosts    2. register the providers
3. enable key persistence where the lab file says so, before any key is made
4. add the hosts    5. create, encrypt and power on the VMs    6. wait until ready
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from chaos.observe.listing import all_hosts, all_vms
from lab.core import LabCore
from lab.errors import KeysteadError
from lab.topology.plan import VmPlan
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState
from protocol.messages.host import Esxcli
from protocol.messages.vcenter import (
    AddHost,
    CreateVm,
    EncryptVm,
    KmipServer,
    PowerOnVm,
    RegisterKmsCluster,
)
from protocol.terms import HostConnectionState, NodeName, PowerState, Role
from services.runtime.each import for_each

BOOTS_AT_ONCE = 64
PARALLEL = 8  # VM tasks at once: a person's script would not do more either
Report = Callable[[str, int, int], None]
"""Hears of long work: a text, a step, and how many steps there are (0: nobody knows)."""


async def provision(lab: LabCore, report: Report) -> None:
    """Build what the topology says; ``KeysteadError`` KS-LAB-003 names what did not come up."""
    topology = lab.topology
    total = 5
    report(f"power on {len(topology.nodes)} nodes", 1, total)
    await start_nodes(lab)
    report("register key providers", 2, total)
    for provider in topology.providers:
        await lab.ask(
            lab.vcenter,
            RegisterKmsCluster(
                provider=provider.provider,
                servers=tuple(KmipServer(name=str(s), node=s) for s in provider.servers),
                make_default=provider.default,
            ),
        )
    for host in topology.key_persistence:
        await esxcli(lab, host, "system security keypersistence enable")
    report(f"add {len(lab.hosts())} hosts", 3, total)
    await for_each(lab.hosts(), lambda host: _add_host(lab, host), at_once=PARALLEL)
    report(f"create {len(topology.vms)} VMs", 4, total)
    await for_each(topology.vms, lambda vm: _make_vm(lab, vm), at_once=PARALLEL)
    report("wait until ready", 5, total)
    await wait_ready(lab)


async def start_nodes(lab: LabCore, *, strict: bool = True) -> None:
    """Key servers and vCenter, then all hosts at once; each has started when this returns.

    ``strict``: a node that does not run (a purple screen) is KS-LAB-003.
    """
    specs = [lab.spec(e.node) for e in lab.directory().nodes]
    for wave in ((Role.KMS, Role.VCENTER), (Role.ESXI,)):
        nodes = [s.node for s in specs if s.role in wave]
        await for_each(nodes, lambda n: _start(lab, n, strict), at_once=BOOTS_AT_ONCE)


async def _start(lab: LabCore, node: NodeName, strict: bool) -> None:
    status = await lab.power_on(node)
    if strict and status.state is not NodeRunState.RUNNING:
        raise KeysteadError(
            "KS-LAB-003", f"{node} did not start: {status.screen or status.state.value}"
        )


async def esxcli(lab: LabCore, host: NodeName, command: str) -> str:
    """Run a command at the host's console; its output. ``KeysteadError`` if it failed."""
    result = await lab.ask(host, Esxcli(arguments=tuple(command.split())))
    if result.exit_code != 0:
        raise KeysteadError("KS-PRODUCT-001", f"{host}: esxcli {command}: {result.output.strip()}")
    return result.output


async def _add_host(lab: LabCore, host: NodeName) -> None:
    await lab.ask(lab.vcenter, AddHost(host=host, cluster=lab.spec(host).cluster), within_s=60.0)


def _planned(task: str, plan: VmPlan) -> str:
    """The operation id of a task of the topology: the same on each try, so that a start which
    was killed goes on from what is there. vCenter keeps it with what it made."""
    return f"topology/{task}/{plan.vm}"


async def _make_vm(lab: LabCore, plan: VmPlan) -> None:
    await lab.ask(
        lab.vcenter,
        CreateVm(
            operation_id=_planned("create", plan), vm=plan.vm, cluster=plan.cluster, host=plan.host
        ),
        within_s=60.0,
    )
    if plan.provider is not None:
        await lab.ask(
            lab.vcenter,
            EncryptVm(operation_id=_planned("encrypt", plan), vm=plan.vm, provider=plan.provider),
            within_s=60.0,
        )
    if plan.power_on:
        await lab.ask(lab.vcenter, PowerOnVm(vm=plan.vm), within_s=60.0)


async def wait_ready(
    lab: LabCore, limit_s: float = 300.0, *, hosts: Collection[NodeName] | None = None
) -> None:
    """All hosts connected and all VMs that shall run running, within ``limit_s`` lab seconds.

    ``hosts``: only these must be connected, and VMs are left to their hosts' autostart.
    """
    until = lab.monotonic() + limit_s
    wanted = [v.vm for v in lab.topology.vms if v.power_on and hosts is None]
    missing = "vCenter does not answer"
    while lab.monotonic() < until:
        try:
            seen = await all_hosts(lab, lab.vcenter)
            vms = await all_vms(lab, lab.vcenter)
        except ProductError as error:
            missing = f"vCenter: {error}"
        else:
            away = [
                h.host
                for h in seen
                if h.connection is not HostConnectionState.CONNECTED
                and (hosts is None or h.host in hosts)
            ]
            running = {v.vm for v in vms if v.power is PowerState.ON}
            off = [v for v in wanted if v not in running]
            if not away and not off:
                return
            missing = f"hosts not connected: {away or 'none'}; VMs not running: {off or 'none'}"
        await lab.sleep(1.0)
    raise KeysteadError("KS-LAB-003", missing)
