"""Hosts: power in all its ways, esxcli at the console, TPM, adding one to a running lab."""

from __future__ import annotations

from typing import Any

import msgspec

from lab.api.look import tpm_row, vcenter_up
from lab.api.table import Session, verb
from lab.errors import KeysteadError
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState, NodeStatus, TpmAct
from protocol.messages.host import Esxcli, QueryHost
from protocol.messages.vcenter import AddHost, ListHosts, ListVms
from protocol.terms import NodeName

Row = dict[str, Any]
SETTLE = 180.0  # lab seconds; asking a key server that is silent takes most of it


class HostsArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hosts: tuple[str, ...]
    options: dict[str, str] = {}


def _status(status: NodeStatus) -> Row:
    return {
        "host": status.node,
        "machine": status.state.value,
        "boot": status.boot,
        "screen": status.screen,
        "ended": status.ended,
    }


async def _each(session: Session, arguments: HostsArgument, verb_of: str) -> Row:
    items: list[Row] = []
    nodes = session.nodes(arguments.hosts)
    for node in nodes:
        session.report(f"{verb_of} {node}", len(items) + 1, len(nodes))
        items.append(_status(await _one(session, node, verb_of, arguments.options)))
    if verb_of in ("power-on", "reboot"):
        await _settled(session, nodes)
    return {"kind": "HostPowerList", "items": items}


async def _settled(session: Session, nodes: tuple[NodeName, ...]) -> None:
    """Wait until vCenter sees these hosts' VMs as the hosts do, so that a look after a reboot
    is no look at the past. Not for a host that vCenter cannot hear; ``SETTLE`` lab seconds at
    most, since a look may always be a moment old."""
    lab = session.lab
    away = {n for r in lab.rules() if lab.vcenter in (r.src, r.dst) for n in (r.src, r.dst)}
    waiting = [n for n in nodes if n in lab.hosts() and n not in away - {lab.vcenter}]
    until = lab.monotonic() + SETTLE
    while waiting and lab.monotonic() < until and await vcenter_up(session):
        try:
            seen = {v.vm: v for v in (await lab.ask(lab.vcenter, ListVms())).vms}
            heard = {h.host: h.boot for h in (await lab.ask(lab.vcenter, ListHosts())).hosts}
            own = {n: (await lab.ask(n, QueryHost())).summary for n in waiting}
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


async def _one(
    session: Session, node: NodeName, verb_of: str, options: dict[str, str]
) -> NodeStatus:
    lab = session.lab
    if verb_of == "power-on":
        return await lab.power_on(node, options)
    if verb_of == "reboot":
        await lab.power_off(node, "stop")
        return await lab.power_on(node, options)
    ways = {"shutdown": "stop", "crash": "crash", "power-loss": "power_loss"}
    return await lab.power_off(node, ways[verb_of])


@verb("host.power-on", HostsArgument, changes=True)
async def power_on(session: Session, arguments: HostsArgument) -> Row:
    """Press the button; ``options`` are typed at the loader (encryptionRecoveryKey=...)."""
    return await _each(session, arguments, "power-on")


@verb("host.reboot", HostsArgument, changes=True)
async def reboot(session: Session, arguments: HostsArgument) -> Row:
    """Orderly: archive saved, TPM2_Shutdown, then a fresh measured boot."""
    return await _each(session, arguments, "reboot")


@verb("host.shutdown", HostsArgument, changes=True)
async def shutdown(session: Session, arguments: HostsArgument) -> Row:
    return await _each(session, arguments, "shutdown")


@verb("host.crash", HostsArgument, changes=True)
async def crash(session: Session, arguments: HostsArgument) -> Row:
    """A kernel crash: what was written survives, nothing more is saved; it stays off."""
    return await _each(session, arguments, "crash")


class PowerLossArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    hosts: tuple[str, ...]
    stay_off: bool = False


@verb("host.power-loss", PowerLossArgument, changes=True)
async def power_loss(session: Session, arguments: PowerLossArgument) -> Row:
    """Pull the power, and give it back at once unless ``stay_off``: only synced bytes survive."""
    nodes = session.nodes(arguments.hosts)
    lost = [await session.lab.power_off(n, "power_loss") for n in nodes]
    if arguments.stay_off:
        return {"kind": "HostPowerList", "items": [_status(s) for s in lost]}
    return await _each(session, HostsArgument(arguments.hosts), "power-on")


@verb("host.pause", HostsArgument, changes=True)
async def pause(session: Session, arguments: HostsArgument) -> Row:
    """Stop the process of each node by signal (SIGSTOP); ``host.resume`` goes on."""
    for node in session.nodes(arguments.hosts):
        await session.lab.pause(node)
    return await _paused(session, arguments)


@verb("host.resume", HostsArgument, changes=True)
async def resume(session: Session, arguments: HostsArgument) -> Row:
    for node in session.nodes(arguments.hosts):
        await session.lab.resume(node)
    return await _paused(session, arguments)


async def _paused(session: Session, arguments: HostsArgument) -> Row:
    nodes = session.nodes(arguments.hosts)
    items = [{"host": node, "paused": await session.lab.paused(node)} for node in nodes]
    return {"kind": "HostPauseList", "items": items}


class AddArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str = ""
    cluster: str = ""


@verb("host.add", AddArgument, changes=True)
async def add(session: Session, arguments: AddArgument) -> Row:
    """Make a new host like those of its cluster, power it on, add it in vCenter."""
    lab = session.lab
    like = next(
        (lab.spec(h) for h in lab.hosts() if arguments.cluster in ("", lab.spec(h).cluster)), None
    )
    if like is None:
        raise KeysteadError("KS-USE-002", f"there is no cluster {arguments.cluster} with a host")
    name = arguments.host or f"esxi-{len(lab.hosts()) + 1:03d}"
    spec = msgspec.structs.replace(like, node=NodeName(name))
    await lab.add_node(spec)
    status = await lab.power_on(spec.node)
    if status.state is not NodeRunState.RUNNING:
        raise KeysteadError("KS-PRODUCT-001", f"{name} did not start: {status.screen}")
    added = await lab.ask(lab.vcenter, AddHost(host=spec.node, cluster=spec.cluster), within=60.0)
    return {"kind": "Host", **msgspec.to_builtins(added.host), "crypto_key_id": None}


class EsxArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str
    arguments: tuple[str, ...]


@verb("esx", EsxArgument, changes=True)
async def esx(session: Session, arguments: EsxArgument) -> Row:
    """esxcli at the host's local console: works behind cut links, not on a host that is off."""
    message = Esxcli(arguments=arguments.arguments)
    result = await session.lab.ask(session.host(arguments.host), message)
    return {"kind": "EsxcliResult", "exit_code": result.exit_code, "output": result.output}


class TpmArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    host: str


@verb("tpm.inspect", TpmArgument)
async def inspect(session: Session, arguments: TpmArgument) -> Row:
    return {"kind": "Tpm", **await tpm_row(session, session.host(arguments.host))}


@verb("tpm.lockout", TpmArgument, changes=True)
async def lockout(session: Session, arguments: TpmArgument) -> Row:
    host = session.host(arguments.host)
    await session.lab.tpm(host, TpmAct.LOCKOUT)
    return {"kind": "Tpm", **await tpm_row(session, host)}
