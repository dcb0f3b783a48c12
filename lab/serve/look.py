"""What vCenter, hosts, key servers and the lab say. Nothing here changes anything."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable

from msgspec.structs import replace

from chaos.observe.look import (
    all_events,
    all_hosts,
    all_key_status,
    all_providers,
    all_tasks,
    all_vms,
)
from lab.schema import commands
from lab.schema.answers import (
    AuditList,
    EventList,
    HostList,
    HostView,
    KeyList,
    KeyServer,
    KeyServerList,
    KeyStatus,
    LabClock,
    LabStatus,
    LinkList,
    LinkState,
    LoopStood,
    MachineState,
    Node,
    NodeList,
    Process,
    ProviderList,
    RuledLink,
    TaskList,
    Tpm,
    TpmList,
    TpmState,
    VmCounts,
    VmList,
)
from lab.schema.errors import KeysteadError
from lab.serve.machines import all_seen, fetch_node, missing_of
from lab.serve.session import LabSession, executes
from lab.serve.views import (
    event_view,
    group_text,
    host_view,
    own_view,
    pair_text,
    provider_view,
    rejections_text,
    rule_view,
    task_view,
    view,
    vm_view,
    wrapping_view,
)
from protocol.errors import ProductError
from protocol.messages.agent import CutRule, LinkRule, TpmAct, TpmBackend
from protocol.messages.host.session import QueryHost
from protocol.messages.kms.administration import QueryCustody, QueryRejections
from protocol.messages.kms.keys import AuditRow, GetAttributes, Locate, QueryAudit
from protocol.messages.kms.replication import QueryGroup, QueryPair
from protocol.terms import HostConnectionState, KmipState, NodeName, PowerState, Role, VmCryptoState
from services.runtime.real.watchdog import STOOD, STOOD_MS


async def peers_text(session: LabSession, server: NodeName) -> str:
    """How a running server replicates; empty when it does not."""
    entries = session.lab.directory().nodes
    if any(entry.node == server and entry.replication for entry in entries):
        return group_text(await session.lab.ask(server, QueryGroup()))
    return pair_text(await session.lab.ask(server, QueryPair()))


ASK_ALL_S = 60.0  # lab seconds for a question that makes vCenter ask key servers


async def vcenter_up(session: LabSession, vcenter: NodeName | None = None) -> bool:
    """Whether a vCenter's node (that of the command) runs, and can be asked."""
    return (await fetch_node(session, vcenter or session.vcenter)).state is MachineState.RUNNING


@executes
async def hosts(session: LabSession, command: commands.GetHosts) -> HostList:
    """See ``GetHosts``."""
    machines = {node.node: node for node in await all_seen(session)}
    found = [
        replace(host_view(host, machines[host.host]), vcenter=session.vcenter_to_show(vcenter))
        for vcenter in session.vcenters()
        for host in await all_hosts(session, vcenter)
    ]
    return HostList(items=tuple(sorted(found, key=lambda host: host.host)))


@executes
async def vms(session: LabSession, command: commands.GetVms) -> VmList:
    """See ``GetVms``."""
    found = []
    for vcenter in session.vcenters():
        heard = await list_connected_hosts(session, vcenter)
        for vm in await all_vms(session, vcenter):
            found.append(
                replace(
                    vm_view(vm, stale=vm.host not in heard),
                    vcenter=session.vcenter_to_show(vcenter),
                )
            )
    return VmList(items=tuple(sorted(found, key=lambda vm: vm.vm)))


async def list_connected_hosts(session: LabSession, vcenter: NodeName) -> frozenset[NodeName]:
    """The hosts that this vCenter shows as connected and whose machines run."""
    listed = await all_hosts(session, vcenter)
    up = {n.node for n in await all_seen(session) if n.state is MachineState.RUNNING}
    connected = HostConnectionState.CONNECTED
    return frozenset(h.host for h in listed if h.connection is connected and h.host in up)


@executes
async def providers(session: LabSession, command: commands.GetProviders) -> ProviderList:
    """See ``GetProviders``."""
    found = [
        replace(provider_view(provider), vcenter=session.vcenter_to_show(vcenter))
        for vcenter in session.vcenters()
        for provider in await all_providers(session, vcenter)
    ]
    return ProviderList(items=tuple(sorted(found, key=lambda provider: provider.provider)))


@executes
async def keys(session: LabSession, command: commands.GetKeys) -> KeyList:
    """See ``GetKeys``."""
    listed = [
        (vcenter, key)
        for vcenter in session.vcenters()
        for key in await all_key_status(session, vcenter, within_s=ASK_ALL_S)
    ]
    return KeyList(
        items=tuple(
            view(
                KeyStatus,
                k,
                vcenter=session.vcenter_to_show(vcenter),
                affected_hosts=tuple(sorted(k.affected_hosts)),
                wrapping_key=wrapping_view(k.wrapping_key),
            )
            for vcenter, k in listed
        )
    )


@executes
async def key_servers(session: LabSession, command: commands.GetKms) -> KeyServerList:
    """See ``GetKms``."""
    servers = [await key_server(session, node) for node in session.key_servers()]
    return KeyServerList(items=tuple(servers))


async def key_server(session: LabSession, node: NodeName) -> KeyServer:
    """What a key server tells of itself."""
    machine = (await fetch_node(session, node)).state
    if machine is not MachineState.RUNNING:
        return KeyServer(kms=node, machine=machine)
    located = await session.ask(node, Locate())
    listed = await session.ask(node, GetAttributes(key_ids=located.key_ids))
    counts: Counter[KmipState] = Counter(key.state for key in listed.keys)
    custody = await session.ask(node, QueryCustody())
    return KeyServer(
        kms=node,
        machine=machine,
        keys=located.total,
        states=dict(sorted(counts.items())),
        peer=await peers_text(session, node),
        rejects=rejections_text(await session.ask(node, QueryRejections())),
        root=custody.root,
        kek=custody.kek,
        rewrapping=custody.waiting if custody.keks > 1 else None,
    )


@executes
async def audit(session: LabSession, command: commands.GetAudit) -> AuditList:
    """See ``GetAudit``."""
    servers = session.key_servers()
    if command.kms:
        server = session.node(command.kms)
    elif len(servers) == 1:
        server = servers[0]
    else:
        known = ", ".join(servers) or "none"
        raise KeysteadError("KS-USE-003", f"name a key server; there are: {known}")
    found: list[AuditRow] = []
    while True:
        after = found[-1].sequence if found else 0
        page = (await session.ask(server, QueryAudit(after=after))).rows
        if not page:
            return AuditList(items=tuple(found))
        found += page


@executes
async def tpms(session: LabSession, command: commands.GetTpm) -> TpmList:
    """See ``GetTpm``."""
    return TpmList(items=tuple([await tpm_of(session, host) for host in session.lab.hosts()]))


async def tpm_of(session: LabSession, host: NodeName) -> Tpm:
    """What the TPM under a host tells of itself."""
    backend = session.lab.spec(host).tpm
    if backend is TpmBackend.NONE:
        return Tpm(host=host, backend=backend, state=TpmState.NONE)
    try:
        acted = await session.lab.tpm(host, TpmAct.INFO)
    except ProductError:
        return Tpm(host=host, backend=backend, state=TpmState.UNKNOWN)
    pcrs = {str(index): value.hex() for index, value in sorted(acted.pcrs.items())}
    info = acted.info
    # The library counts real time, which two runs of one seed do not have in common.
    real_time = session.lab.mode == "sim" and backend is TpmBackend.LIBTPMS
    if info is None:
        return Tpm(host=host, backend=backend, state=TpmState.OFF, ek=acted.ek, pcrs=pcrs)
    return view(
        Tpm,
        info,
        host=host,
        backend=backend,
        clock=None if real_time else info.clock,
        state=TpmState.FAILED if info.failed else TpmState.ON,
        ek=acted.ek,
        pcrs=pcrs,
    )


@executes
async def links(session: LabSession, command: commands.GetLinks) -> LinkList:
    """See ``GetLinks``."""
    lab = session.lab
    clients = session.vcenters()
    ends = [(v, k) for v in session.vcenters() for k in session.key_servers()]
    ends += [(v, h) for h in lab.hosts() if (v := lab.vcenter_of(h)) in clients]
    known = [(src, dst) for a, b in ends for src, dst in ((a, b), (b, a))]
    rules = lab.rules()
    others = dict.fromkeys((r.src, r.dst) for r in rules if (r.src, r.dst) not in known)
    items = []
    for src, dst in (*known, *others):
        on = tuple(r for r in rules if (r.src, r.dst) == (src, dst))
        views = tuple(rule_view(r) for r in on)
        link = f"{src}->{dst}"
        items.append(RuledLink(link=link, src=src, dst=dst, state=_state(on), rules=views))
    return LinkList(items=tuple(items))


def _state(rules: tuple[LinkRule, ...]) -> LinkState:
    if any(isinstance(rule, CutRule) for rule in rules):
        return LinkState.CUT
    return LinkState.FAULTY if rules else LinkState.UP


@executes
async def nodes(session: LabSession, command: commands.GetNodes) -> NodeList:
    """See ``GetNodes``."""
    return NodeList(items=await all_seen(session))


@executes
async def events(session: LabSession, command: commands.GetEvents) -> EventList:
    """See ``GetEvents``."""
    found = await all_events(session, session.vcenter, after=command.after, limit=command.limit)
    return EventList(items=tuple(event_view(event) for event in found))


@executes
async def tasks(session: LabSession, command: commands.GetTasks) -> TaskList:
    """See ``GetTasks``."""
    found = await all_tasks(session, session.vcenter)
    wanted = (t for t in found if not command.running or t.complete_time is None)
    return TaskList(items=tuple(task_view(task) for task in wanted))


@executes
async def host_own_view(session: LabSession, command: commands.GetHostView) -> HostView:
    """See ``GetHostView``."""
    return own_view((await session.ask(session.host(command.host), QueryHost())).summary)


@executes
async def clock(session: LabSession, command: commands.GetClock) -> LabClock:
    """See ``GetClock``."""
    return LabClock(time=session.lab.wall(), pace=session.lab.topology.pace)


@executes
async def status(session: LabSession, command: commands.GetStatus) -> LabStatus:
    """See ``GetStatus``."""
    lab = session.lab
    found = await all_seen(session)
    states = {node.node: node.state for node in found}
    tpms = Counter(node.tpm for node in found if node.role is Role.ESXI)
    up = all(states[vcenter] is MachineState.RUNNING for vcenter in session.vcenters())
    real = session.folder is not None
    return LabStatus(
        name=lab.topology.name,
        mode=lab.mode,
        pace=lab.topology.pace,
        lab_time=round(lab.monotonic(), 3),
        nodes=dict(sorted(Counter(states.values()).items())),
        tpms=dict(sorted(tpms.items())),
        faults=tuple(f.fault.id for f in session.keeper.active()),
        vcenter=states[session.vcenter],
        vms=await _counts(session) if up else None,
        folder=str(session.folder or ""),
        supervisor=os.getpid() if real else 0,
        pids=_processes() if real else (),
        missing=missing_of(found),
        warnings=tuple(session.warnings),
        stood=_list_stalls(session, found),
    )


def _list_stalls(session: LabSession, nodes: Iterable[Node]) -> tuple[LoopStood, ...]:
    own = session.stands
    here = LoopStood(
        process="supervisor", times=own.count, longest_s=round(own.longest_s, 3), where=own.where
    )
    found = [
        LoopStood(
            process=node.node,
            times=node.counters[STOOD],
            longest_s=node.counters[STOOD_MS] / 1000,
        )
        for node in nodes
        if STOOD in node.counters
    ]
    return tuple(one for one in (here, *found) if one.times)


async def _counts(session: LabSession) -> VmCounts:
    listed = [vm for v in session.vcenters() for vm in await all_vms(session, v)]
    return VmCounts(
        on=sum(v.power is PowerState.ON for v in listed),
        off=sum(v.power is PowerState.OFF for v in listed),
        locked=sum(v.crypto is VmCryptoState.LOCKED for v in listed),
    )


def _processes() -> tuple[Process, ...]:
    """This process and its children: supervisor, brokers, fork server, agents."""
    import psutil  # only here: agents and simulations have no use for it

    own = psutil.Process()
    found = [Process(pid=own.pid, name="keystead-supervisor")]
    for child in own.children(recursive=True):
        try:
            found.append(Process(pid=child.pid, name=child.name()))
        except psutil.NoSuchProcess:
            continue
    return tuple(found)
