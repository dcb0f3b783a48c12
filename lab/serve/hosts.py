"""Hosts: power in all its ways, esxcli at the console, the TPM; their keys and core dumps as their
own administrator changes them, without vCenter.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import groupby

from chaos.administration import install_anew
from chaos.faults.base import names
from chaos.observe.look import all_hosts, all_vms
from lab.schema import commands
from lab.schema.answers import (
    Dump,
    DumpContent,
    DumpList,
    EsxcliResult,
    Host,
    HostPaused,
    HostPauseList,
    HostPower,
    HostPowerList,
    HostView,
    MachineState,
    Pcrs,
    RemovedKey,
    RemovedKeyList,
    Tpm,
)
from lab.schema.errors import KeysteadError
from lab.serve.crypto import key_id
from lab.serve.look import host_own_view, tpm_of, vcenter_up
from lab.serve.machines import fetch_node
from lab.serve.session import LabSession, executes
from lab.serve.views import host_view, key_ref, power_view, view
from protocol.errors import InvalidState, ProductError
from protocol.messages.agent import NodeStatus, TpmAct
from protocol.messages.host.crypto import (
    DecryptDump,
    GetCryptoKeyStatus,
    ListDumps,
    RemoveDump,
    RemoveKeys,
    RemoveProvider,
    WriteDump,
)
from protocol.messages.host.crypto import Dump as DumpOnHost
from protocol.messages.host.session import Esxcli, QueryHost
from protocol.messages.vcenter.inventory import ClearTpmRecord
from protocol.printable import quote_if_needed
from protocol.terms import HostConnectionState, NodeName, ProviderId, VmName
from services.runtime.each import try_each

SETTLE_S = 180.0  # lab seconds; asking a key server that is silent takes most of it
Act = Callable[[NodeName], Awaitable[NodeStatus]]
ATTEST_S = 15.0  # lab seconds for vCenter to look at a TPM

# ---- power -------------------------------------------------------------------------------


@executes
async def power_on(session: LabSession, command: commands.HostPowerOn) -> HostPowerList:
    """See ``HostPowerOn``."""
    return await _power_on_in_waves(session, command.hosts, command.options)


@executes
async def reboot(session: LabSession, command: commands.HostReboot) -> HostPowerList:
    """See ``HostReboot``."""

    async def again(node: NodeName) -> NodeStatus:
        await session.lab.check_room(node)
        await session.lab.power_off(node, "stop")
        return await session.lab.power_on(node, {})

    nodes = session.nodes(command.hosts)
    done = await one_by_one(session, nodes, "reboot", again)
    await wait_for_inventory(session, nodes)
    return done


@executes
async def power_off(session: LabSession, command: commands.HostPowerOff) -> HostPowerList:
    """See ``HostPowerOff``."""
    nodes = session.nodes(command.hosts)
    return await one_by_one(session, nodes, "shut down", _by(session, "stop"))


@executes
async def reinstall(session: LabSession, command: commands.HostReinstall) -> HostPowerList:
    """See ``HostReinstall``."""
    hosts = tuple(session.host(node) for node in session.nodes(command.hosts))
    done = await one_by_one(
        session,
        hosts,
        "install",
        lambda host: install_anew(session.lab, host, leftover=command.leftover),
    )
    await wait_for_inventory(session, hosts)
    return done


@executes
async def crash(session: LabSession, command: commands.HostCrash) -> HostPowerList:
    """See ``HostCrash``."""
    return await _at_once(session, session.nodes(command.hosts), "crash", _by(session, "crash"))


@executes
async def power_loss(session: LabSession, command: commands.HostPowerLoss) -> HostPowerList:
    """See ``HostPowerLoss``."""
    nodes, cut = session.nodes(command.hosts), _by(session, "power_loss")
    lost = await _at_once(session, nodes, "cut the power of", cut)
    if command.stay_off:
        return lost
    back = await _at_once(session, nodes, "power on", lambda n: session.lab.power_on(n, {}))
    await wait_for_inventory(session, nodes)
    return back


async def _power_on_in_waves(
    session: LabSession, hosts: tuple[str, ...], options: dict[str, str]
) -> HostPowerList:
    """Nodes of one role that follow each other together, as a storm; roles in the order given,
    which is that in which nodes need each other when they are selected at once."""

    async def start(node: NodeName) -> NodeStatus:
        if options:
            await _at_its_loader(session, node)
        return await session.lab.power_on(node, options)

    nodes = session.nodes(hosts)
    items: list[HostPower] = []
    for _, wave in groupby(nodes, lambda node: session.lab.spec(node).role):
        started = await _at_once(session, tuple(wave), "power on", start)
        items += started.items
    await wait_for_inventory(session, nodes)
    return HostPowerList(items=tuple(items))


async def _at_its_loader(session: LabSession, node: NodeName) -> None:
    """Boot options are typed before a boot: a machine that has halted is restarted for them, and
    one that boots or runs is not (``InvalidState``)."""
    state = (await fetch_node(session, node)).state
    if state is MachineState.HALTED:
        await session.lab.power_off(node, "stop")
    elif state in (MachineState.BOOTING, MachineState.RUNNING):
        raise InvalidState(
            f"{node} is {state.value}: boot options are typed at its next start, after `keystead "
            f"host power-off {node}`"
        )


def _by(session: LabSession, way: str) -> Act:
    return lambda node: session.lab.power_off(node, way)


async def _at_once(
    session: LabSession, nodes: tuple[NodeName, ...], text: str, act: Act
) -> HostPowerList:
    """All of them together, as a feed takes all that hangs on it; the first refusal is raised
    when all have been tried."""
    session.report(f"{text} {names(nodes)}", len(nodes), len(nodes))
    items: list[HostPower] = []
    for outcome in await try_each(nodes, act):
        if isinstance(outcome, Exception):
            raise outcome
        items.append(power_view(outcome))
    return HostPowerList(items=tuple(items))


async def one_by_one(
    session: LabSession,
    nodes: tuple[NodeName, ...],
    text: str,
    act: Act,
) -> HostPowerList:
    """One after another, in the order of the selectors."""
    items: list[HostPower] = []
    for number, node in enumerate(nodes, 1):
        session.report(f"{text} {node}", number, len(nodes))
        items.append(power_view(await act(node)))
    return HostPowerList(items=tuple(items))


async def wait_for_inventory(session: LabSession, nodes: tuple[NodeName, ...]) -> None:
    """Wait until vCenter sees these hosts' VMs as the hosts do, so that a look after a reboot
    is no look at the past. Not for a host that vCenter cannot hear; ``SETTLE_S`` lab seconds at
    most, since a look may always be a moment old."""
    lab = session.lab
    hosts = [node for node in nodes if node in lab.hosts()]
    for vcenter in dict.fromkeys(session.vcenter_of(host) for host in hosts):
        mine = [host for host in hosts if session.vcenter_of(host) == vcenter]
        await _wait_for_inventory_of(session, vcenter, mine)


async def _wait_for_inventory_of(
    session: LabSession, vcenter: NodeName, hosts: list[NodeName]
) -> None:
    lab = session.lab
    away = {n for r in lab.rules() if vcenter in (r.src, r.dst) for n in (r.src, r.dst)}
    waiting = [n for n in hosts if n not in away - {vcenter}]
    until = lab.monotonic() + SETTLE_S
    while waiting and lab.monotonic() < until and await vcenter_up(session, vcenter):
        try:
            seen = {v.vm: v for v in await all_vms(session, vcenter)}
            heard = {
                h.host: h.boot
                for h in await all_hosts(session, vcenter)
                if h.connection is not HostConnectionState.DISCONNECTED
            }
            own = {n: (await session.ask(n, QueryHost())).summary for n in waiting}
        except ProductError:
            return  # it halted, or went down again
        waiting = [
            n
            for n in waiting
            if n in heard
            and not (
                heard[n] == own[n].boot
                and all(
                    (v.power, v.crypto) == (seen[v.vm].power, seen[v.vm].crypto)
                    for v in own[n].vms
                    if v.vm in seen
                )
            )
        ]
        if waiting:
            await lab.sleep(1.0)


# ---- processes ---------------------------------------------------------------------------


@executes
async def pause(session: LabSession, command: commands.HostPause) -> HostPauseList:
    """See ``HostPause``."""
    nodes = session.nodes(command.hosts)
    for node in nodes:
        await session.lab.pause(node)
    return await _list_paused(session, nodes)


@executes
async def resume(session: LabSession, command: commands.HostResume) -> HostPauseList:
    """See ``HostResume``."""
    nodes = session.nodes(command.hosts)
    for node in nodes:
        await session.lab.resume(node)
    return await _list_paused(session, nodes)


async def _list_paused(session: LabSession, nodes: tuple[NodeName, ...]) -> HostPauseList:
    items = [HostPaused(host=node, paused=await session.lab.paused(node)) for node in nodes]
    return HostPauseList(items=tuple(items))


@executes
async def clear_tpm(session: LabSession, command: commands.HostClearTpm) -> Host:
    """See ``HostClearTpm``; returns when vCenter has looked at the TPM, or cannot."""
    lab, name = session.lab, session.host(command.host)
    vcenter = session.vcenter_of(name)
    await session.ask(vcenter, ClearTpmRecord(host=name))
    until = lab.monotonic() + ATTEST_S
    while True:
        listed = next(h for h in await all_hosts(session, vcenter) if h.host == name)
        if listed.attestation is not None or not listed.tpm_present or lab.monotonic() >= until:
            return host_view(listed, await fetch_node(session, name))
        await lab.sleep(0.5)


# ---- console and TPM ---------------------------------------------------------------------


@executes
async def esx(session: LabSession, command: commands.Esx) -> EsxcliResult:
    """See ``Esx``."""
    host = session.host(command.host)
    result = await session.ask(host, Esxcli(arguments=command.arguments))
    return EsxcliResult(exit_code=result.exit_code, output=result.output)


@executes
async def tpm_inspect(session: LabSession, command: commands.TpmInspect) -> Tpm:
    """See ``TpmInspect``."""
    return await tpm_of(session, session.host(command.host))


@executes
async def tpm_pcrs(session: LabSession, command: commands.TpmPcrs) -> Pcrs:
    """See ``TpmPcrs``."""
    tpm = await tpm_of(session, session.host(command.host))
    return Pcrs(host=tpm.host, pcrs=tpm.pcrs)


@executes
async def tpm_lockout(session: LabSession, command: commands.TpmLockout) -> Tpm:
    """See ``TpmLockout``."""
    host = session.host(command.host)
    await session.lab.tpm(host, TpmAct.LOCKOUT)
    return await tpm_of(session, host)


@executes
async def remove_keys(session: LabSession, command: commands.HostRemoveKeys) -> RemovedKeyList:
    """See ``HostRemoveKeys``."""
    host = session.host(command.host)
    keys = tuple(key_id(key) for key in command.keys)
    results = (await session.ask(host, RemoveKeys(keys=keys))).results
    left = (await session.ask(host, GetCryptoKeyStatus(keys=keys))).keys
    return RemovedKeyList(
        host=host,
        items=tuple(
            RemovedKey(
                key=key_ref(result.key),
                removed=result.success,
                reason=result.reason,
                stored=status.stored,
            )
            for result, status in zip(results, left, strict=True)
        ),
    )


@executes
async def remove_provider(session: LabSession, command: commands.HostRemoveProvider) -> HostView:
    """See ``HostRemoveProvider``."""
    host = session.host(command.host)
    listed = (await session.ask(host, QueryHost(vms=False))).summary.providers
    names = [ref.provider_id for ref in listed]
    if command.provider not in names:
        there = ", ".join(sorted(names)) or "none"
        text = f"{host} has no key provider {quote_if_needed(command.provider)}; it has {there}"
        raise KeysteadError("KS-USE-002", text, "name one of these: what is not there cannot leave")
    await session.ask(host, RemoveProvider(provider=ProviderId(command.provider)))
    return await host_own_view(session, commands.GetHostView(host))


# ---- core dumps --------------------------------------------------------------------------


@executes
async def write_dump(session: LabSession, command: commands.HostDumpWrite) -> Dump:
    """See ``HostDumpWrite``."""
    host = session.host(command.host)
    vm = VmName(command.vm) if command.vm else None
    dump = command.dump or _next_name(await _list_dumps(session, host), _PROCESS if vm else _NAMED)
    done = await session.ask(host, WriteDump(dump=dump, marker=command.marker, vm=vm))
    return _view(host, done.dump)


def _next_name(there: tuple[DumpOnHost, ...], of: str) -> str:
    """``of.NNN`` with the first number above those that are there."""
    named = [each.dump.rpartition(".") for each in there]
    last = [int(number) for head, _, number in named if head == of and number.isdecimal()]
    return f"{of}.{max(last, default=-1) + 1:03d}"


_NAMED, _PROCESS = "hostd-zdump", "vmx-zdump"


@executes
async def dumps(session: LabSession, command: commands.HostDumpList) -> DumpList:
    """See ``HostDumpList``."""
    host = session.host(command.host)
    return DumpList(items=tuple(_view(host, dump) for dump in await _list_dumps(session, host)))


async def _list_dumps(session: LabSession, host: NodeName) -> tuple[DumpOnHost, ...]:
    return (await session.ask(host, ListDumps())).dumps


@executes
async def decrypt_dump(session: LabSession, command: commands.HostDumpDecrypt) -> DumpContent:
    """See ``HostDumpDecrypt``."""
    host = session.host(command.host)
    read = await session.ask(host, DecryptDump(dump=command.dump))
    return DumpContent(
        host=host,
        dump=read.dump.dump,
        key=key_ref(read.dump.key) if read.dump.key else None,
        content=read.content,
    )


@executes
async def remove_dump(session: LabSession, command: commands.HostDumpRemove) -> DumpList:
    """See ``HostDumpRemove``; KS-USE-002 when there is no such dump."""
    host = session.host(command.host)
    if command.dump not in [dump.dump for dump in await _list_dumps(session, host)]:
        raise KeysteadError("KS-USE-002", f"{host} has no dump {command.dump}")
    await session.ask(host, RemoveDump(dump=command.dump))
    return await dumps(session, commands.HostDumpList(host))


def _view(host: NodeName, dump: DumpOnHost) -> Dump:
    return view(Dump, dump, host=host)
