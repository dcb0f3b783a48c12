"""From an empty lab to a ready one, in a vSphere administrator's order; safe to repeat: each step
converges, and has the same operation id on each try.

1. power on key servers, vCenter, hosts    2. register the providers
3. enable key persistence where the lab file says so, before any key is made
4. add the hosts, turn HA on, and set a Trust Authority up for them
5. create the VMs, each encrypted in the same task, add their virtual TPMs, and power them on where
the lab file has them; then turn DRS on, and encrypt vSAN datastores
6. wait until ready
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from contextlib import suppress

import msgspec

from chaos.administration import take_backup
from chaos.observe.look import all_hosts, all_vms
from lab.building.course import Course, Report
from lab.building.trust import TrustedArrivals, operators_key, set_up, trust_each_other
from lab.core import BOOT_LIMIT_S, LabCore
from lab.schema.errors import KeysteadError
from lab.topology.plan import ProviderPlan, TrustPlan, VmPlan, VsanPlan
from protocol.attributes import GRANTED_SCOPE
from protocol.errors import AlreadyExists, ProductError
from protocol.messages.agent import NodeRunState
from protocol.messages.host.session import Esxcli
from protocol.messages.kms.keys import AddAttribute
from protocol.messages.vcenter.inventory import AddHost, ReconfigureComputeResource
from protocol.messages.vcenter.providers import (
    CreateNativeProvider,
    KeySpec,
    KmipServer,
    RegisterKmsCluster,
)
from protocol.messages.vcenter.vms import AddVtpm, CreateVm, PowerOnVm
from protocol.messages.vcenter.vsan import (
    CreateVsanObject,
    DataEncryptionConfig,
    VsanClusterReconfig,
)
from protocol.scopes import of_vcenter
from protocol.terms import HostConnectionState, NodeName, PowerState, Role
from services.esxi.knobs import EsxiKnobs
from services.runtime.knobs import read_knobs

BOOTS_A_SECOND = 64  # of a real machine; where virtual time waits for nobody there is no crowd
BOOT_WAITS = 5  # a host's boot waits ``boot_step_s`` so often until it serves: B0, and B4 to B7
PARALLEL = 8  # tasks at once: a person's script would not do more either
HOSTS_PER_TASK = 4  # but in a large lab each waits for the disk of a host of its own
LOOK_EVERY_REAL_S = 0.25  # a look at all hosts and VMs is work for vCenter


async def provision(lab: LabCore, report: Report) -> None:
    """Build what the topology says; ``KeysteadError`` KS-LAB-003 names what did not come up.

    It lasts as long as it advances (``course``).
    """
    topology = lab.topology
    at_once = max(PARALLEL, len(lab.hosts()) // HOSTS_PER_TASK)
    course = Course(lab, report, 5)
    await start_nodes(lab, course, at_once=boots_at_once(lab))
    course.begin(2, "register key providers")
    for provider in topology.providers:
        if provider.type != "trusted":  # its hosts have to be there
            await _provider(lab, course, provider)
    if topology.key_persistence:
        await course.each(
            2,
            f"enable key persistence on {len(topology.key_persistence)} hosts",
            topology.key_persistence,
            lambda host: _persist_keys(lab, course, host),
            at_once=at_once,
        )
    await course.each(
        3,
        f"add {len(lab.hosts())} hosts",
        lab.hosts(),
        lambda host: _add_host(lab, course, host),
        at_once=at_once,
    )
    for vcenter, cluster in topology.ha:
        reconfigure = ReconfigureComputeResource(cluster=cluster, das_enabled=True)
        await course.ask(vcenter, reconfigure)
    if topology.trust is not None and topology.trust.setup:
        await _trust(lab, course, topology.trust)
    await course.each(
        4,
        f"create {len(topology.vms)} VMs",
        topology.vms,
        lambda vm: _make_vm(lab, course, vm),
        at_once=at_once,
    )
    for vcenter, cluster, level in topology.drs:
        await course.ask(vcenter, ReconfigureComputeResource(cluster=cluster, drs=level))
    for vsan in topology.vsan:
        await _vsan(lab, course, vsan)
    course.begin(5, "wait until ready")
    await wait_ready(lab, course)


async def provision_host(
    lab: LabCore,
    course: Course,
    host: NodeName,
    vms: Sequence[VmPlan],
    *,
    persistent: bool,
    trusted: TrustedArrivals | None,
) -> None:
    """Build one host that came later, which runs: steps 3 to 5 of it; safe to repeat.

    ``persistent``: key persistence is enabled before any key is made. ``trusted``: who sees to its
    trust, where its cluster is a trusted one.
    """
    if persistent:
        await _persist_keys(lab, course, host)
    await _add_host(lab, course, host)
    if trusted is not None:
        await trusted.trust(host)
    for vm in vms:
        await _make_vm(lab, course, vm)
        lab.know_vm(vm.vm)


_WAVES = (
    (Role.KMS, "key servers"),
    (Role.ATTESTATION, "Attestation Services"),
    (Role.KEYPROVIDER, "Key Provider Services"),
    (Role.VCENTER, "vCenter servers"),
    (Role.ESXI, "hosts"),
)


def boots_at_once(lab: LabCore) -> int | None:
    """How many hosts boot together, so that ``BOOTS_A_SECOND`` begin in a second; None: all.

    The longest part of a boot is waiting, the more so the slower the lab's pace is, and hosts that
    wait are no crowd.
    """
    a_real_s = lab.in_lab_s(1.0)
    if not a_real_s:
        return None
    steps_s = (read_knobs(EsxiKnobs, lab.spec(host).knobs).boot_step_s for host in lab.hosts())
    return round(BOOTS_A_SECOND * max(1.0, BOOT_WAITS * max(steps_s, default=0.0) / a_real_s))


async def start_nodes(
    lab: LabCore,
    course: Course,
    *,
    strict: bool = True,
    at_once: int | None = None,
    away: Collection[NodeName] = (),
) -> None:
    """Key servers, then vCenter, then the hosts; each has started when this returns.

    ``at_once``: how many of them boot together; None: all, as when the power of a site returns.

    A vCenter that starts before its key servers finds them silent, locks VMs, and looks at them
    again minutes later only.

    ``strict``: a node that does not run (a purple screen) is KS-LAB-003. Those that are ``away``,
    with their machine, are left out.
    """
    specs = [lab.spec(e.node) for e in lab.directory().nodes]
    for role, what in _WAVES:
        nodes = [s.node for s in specs if s.role is role and s.node not in away]
        if not nodes and role is not Role.ESXI:
            continue
        await course.each(
            1,
            f"power on {len(nodes)} {what}",
            nodes,
            lambda n: _start(lab, course, n, strict),
            at_once=at_once or len(nodes),
        )


async def _start(lab: LabCore, course: Course, node: NodeName, strict: bool) -> None:
    within_s = max(BOOT_LIMIT_S, course.stall_s)
    status = await course.try_until_stalled(lambda: lab.power_on(node, within_s=within_s))
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


async def _persist_keys(lab: LabCore, course: Course, host: NodeName) -> None:
    command = "system security keypersistence enable"
    await course.try_until_stalled(lambda: esxcli(lab, host, command))


async def _provider(lab: LabCore, course: Course, plan: ProviderPlan) -> None:
    """A native provider is used when it is backed up: the lab's own backup of it is thrown away."""
    if plan.type != "native":
        servers = tuple(
            KmipServer(name=str(s), node=s, address=f"kmip://{s}" if s in plan.kmip else "")
            for s in plan.servers
        )
        register = RegisterKmsCluster(
            provider=plan.provider,
            servers=servers,
            make_default=plan.default,
            keys=await _key_spec(lab, course, plan),
        )
        await course.ask(plan.vcenter, register)
        if plan.kmip:
            trust = trust_each_other
            await course.try_until_stalled(
                lambda: trust(lab, plan.vcenter, plan.provider, plan.kmip)
            )
        return
    create = CreateNativeProvider(
        provider=plan.provider, tpm_required=plan.tpm_required, make_default=plan.default
    )
    with suppress(AlreadyExists):  # an earlier try
        await course.ask(plan.vcenter, create)
    await course.try_until_stalled(lambda: take_backup(lab, plan.vcenter, plan.provider))


async def _key_spec(
    lab: LabCore, course: Course, plan: ProviderPlan
) -> KeySpec | msgspec.UnsetType:
    """What the provider's keys are; a wrapping key that the file names is made at its key server,
    by the operator of that, and given to vCenter (KEY-07)."""
    if not isinstance(plan.keys, KeySpec) or not plan.keys.wrapping_key:
        return plan.keys
    operation = f"topology/wrapping/{plan.provider}/{plan.keys.wrapping_key}"
    server, scope = plan.servers[0], of_vcenter(plan.vcenter)
    made = await course.try_until_stalled(lambda: operators_key(lab, server, operation))
    grant = AddAttribute(key_id=made, name=GRANTED_SCOPE, value=scope)
    await course.try_until_stalled(lambda: lab.ask(server, grant))
    return msgspec.structs.replace(plan.keys, wrapping_key=made)


async def _trust(lab: LabCore, course: Course, plan: TrustPlan) -> None:
    def report_step(text: str, step: int, total: int) -> None:
        course.begin(3, f"Trust Authority: {text}")

    await set_up(lab, plan, lab.topology.providers, report_step)


async def _vsan(lab: LabCore, course: Course, plan: VsanPlan) -> None:
    """Encryption first, so that no object ever lies there in clear."""
    course.begin(5, f"vSAN of {plan.cluster}")
    if plan.provider is not None:
        wish = DataEncryptionConfig(
            encryption_enabled=True,
            kms_provider_id=plan.provider,
            erase_disks_before_use=plan.erase_disks_before_use,
        )
        reconfigure = VsanClusterReconfig(
            operation_id=f"topology/vsan/{plan.cluster}",
            cluster=plan.cluster,
            data_encryption_config=wish,
        )
        await course.ask(plan.vcenter, reconfigure)
    for name in plan.objects:
        create = CreateVsanObject(
            operation_id=f"topology/vsan/{plan.cluster}/{name}",
            cluster=plan.cluster,
            object=name,
        )
        await course.ask(plan.vcenter, create)


async def _add_host(lab: LabCore, course: Course, host: NodeName) -> None:
    message = AddHost(host=host, cluster=lab.spec(host).cluster)
    await course.ask(lab.vcenter_of(host), message)


def _operation_id(task: str, plan: VmPlan) -> str:
    """The operation id of a task of the topology: the same on each try, so that a start which
    was killed goes on from what is there. vCenter keeps it with what it made."""
    return f"topology/{task}/{plan.vm}"


async def _make_vm(lab: LabCore, course: Course, plan: VmPlan) -> None:
    vcenter = lab.vcenter_of(plan.host)
    await course.ask(
        vcenter,
        CreateVm(
            operation_id=_operation_id("create", plan),
            vm=plan.vm,
            cluster=plan.cluster,
            host=plan.host,
            encrypted=plan.provider is not None,
            provider=plan.provider,
        ),
    )
    if plan.vtpm is not None:
        add = AddVtpm(operation_id=_operation_id("vtpm", plan), vm=plan.vm, provider=plan.vtpm)
        await course.ask(vcenter, add)
    if plan.power_on:
        await course.ask(vcenter, PowerOnVm(vm=plan.vm))


async def wait_ready(
    lab: LabCore, course: Course, *, hosts: Collection[NodeName] | None = None
) -> None:
    """All hosts connected and all VMs that shall run running; KS-LAB-003 names what is missing
    when no more of them came for a while.

    ``hosts``: only these must be connected, and VMs are left to their hosts' autostart.
    """
    wanted = [v.vm for v in lab.topology.vms if v.power_on and hosts is None]
    missing, fewest = "vCenter does not answer", -1
    pause_s = max(1.0, lab.in_lab_s(LOOK_EVERY_REAL_S))
    while not course.stalled:
        try:
            seen = [h for v in lab.topology.vcenters for h in await all_hosts(lab, v)]
            vms = [vm for v in lab.topology.vcenters for vm in await all_vms(lab, v)]
        except ProductError as error:
            missing = f"vCenter: {error}"
        else:
            away = [
                h.host
                for h in seen
                if h.connection is HostConnectionState.NOT_RESPONDING  # disconnected: on purpose
                and (hosts is None or h.host in hosts)
            ]
            running = {v.vm for v in vms if v.power is PowerState.ON}
            off = [v for v in wanted if v not in running]
            if not away and not off:
                return
            missing = (
                f"hosts not connected: {format_names(away)}; VMs not running: {format_names(off)}"
            )
            if fewest < 0 or len(away) + len(off) < fewest:
                fewest = len(away) + len(off)
                course.note_progress()
        await lab.sleep(pause_s)
    raise KeysteadError("KS-LAB-003", missing)


def format_names(names: Sequence[str], most: int = 10) -> str:
    """The first of many names, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more if names else "none"
