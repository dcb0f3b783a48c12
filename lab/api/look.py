"""Looking: what vCenter, hosts, key servers and the lab say. Nothing here changes anything."""

from __future__ import annotations

from typing import Any

import msgspec

from lab.api.table import Nothing, Session, verb
from protocol.errors import ProductError
from protocol.messages.agent import CutRule, NodeRunState, TpmAct
from protocol.messages.host import QueryHost
from protocol.messages.kms import GetAttributes, Locate, QueryAudit
from protocol.messages.vcenter import (
    ListEvents,
    ListHosts,
    ListKmsClusters,
    ListVms,
    ProviderInfo,
    QueryCryptoKeyStatus,
)
from protocol.terms import HostConnectionState, NodeName

Row = dict[str, Any]


async def vcenter_up(session: Session) -> bool:
    return (await session.lab.status(session.lab.vcenter)).state is NodeRunState.RUNNING


@verb("get.hosts", Nothing)
async def hosts(session: Session, _: Nothing) -> Row:
    """vCenter's view of each host; ``stale`` where it does not hear the host now."""
    listed = (await session.lab.ask(session.lab.vcenter, ListHosts())).hosts
    status = {s.node: s for s in await session.lab.nodes()}
    items = []
    for host in listed:
        machine = status.get(host.host)
        items.append(
            {
                **msgspec.to_builtins(host),
                "crypto_key_id": str(host.crypto_key_id) if host.crypto_key_id else None,
                "stale": host.connection is not HostConnectionState.CONNECTED,
                "machine": machine.state.value if machine else "gone",
                "screen": machine.screen if machine else "",
            }
        )
    return {"kind": "HostList", "items": items}


@verb("get.vms", Nothing)
async def vms(session: Session, _: Nothing) -> Row:
    listed = (await session.lab.ask(session.lab.vcenter, ListVms())).vms
    reachable = {
        h.host
        for h in (await session.lab.ask(session.lab.vcenter, ListHosts())).hosts
        if h.connection is HostConnectionState.CONNECTED
    }
    items = [
        {
            **msgspec.to_builtins(v),
            "key": str(v.key) if v.key else None,
            "missing": [str(k) for k in v.missing],
            "stale": v.host not in reachable,
        }
        for v in listed
    ]
    return {"kind": "VmList", "items": items}


@verb("get.providers", Nothing)
async def providers(session: Session, _: Nothing) -> Row:
    listed = (await session.lab.ask(session.lab.vcenter, ListKmsClusters())).providers
    return {"kind": "ProviderList", "items": [provider_row(p) for p in listed]}


def provider_row(provider: ProviderInfo) -> Row:
    """A provider with its servers by name."""
    return {**msgspec.to_builtins(provider), "servers": [s.name for s in provider.servers]}


@verb("get.keys", Nothing)
async def keys(session: Session, _: Nothing) -> Row:
    """Every key of the inventory, whether its provider can give it, and who uses it."""
    reply = await session.lab.ask(session.lab.vcenter, QueryCryptoKeyStatus(), within=60.0)
    items = [{**msgspec.to_builtins(k), "key": str(k.key)} for k in reply.keys]
    return {"kind": "KeyList", "items": items}


@verb("get.kms", Nothing)
async def key_servers(session: Session, _: Nothing) -> Row:
    """Each key server with its own counts, asked at its operator's door."""
    items: list[Row] = []
    for node in session.key_servers():
        status = await session.lab.status(node)
        row: Row = {"kms": node, "machine": status.state.value, "keys": None, "states": {}}
        if status.state is NodeRunState.RUNNING:
            located = await session.lab.ask(node, Locate())
            row["keys"] = located.total
            listed = await session.lab.ask(node, GetAttributes(key_ids=located.key_ids))
            states: dict[str, int] = {}
            for key in listed.keys:
                states[key.state.value] = states.get(key.state.value, 0) + 1
            row["states"] = dict(sorted(states.items()))
        items.append(row)
    return {"kind": "KeyServerList", "items": items}


class NodeArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    node: str


@verb("get.audit", NodeArgument)
async def audit(session: Session, arguments: NodeArgument) -> Row:
    """A key server's audit rows: who did what to which key."""
    reply = await session.lab.ask(session.node(arguments.node), QueryAudit())
    return {"kind": "AuditList", "items": [msgspec.to_builtins(r) for r in reply.rows]}


@verb("get.tpm", Nothing)
async def tpms(session: Session, _: Nothing) -> Row:
    return {"kind": "TpmList", "items": [await tpm_row(session, h) for h in session.lab.hosts()]}


async def tpm_row(session: Session, host: NodeName) -> Row:
    """What the TPM under a host tells; only its kind when the host has none."""
    spec = session.lab.spec(host)
    row: Row = {"host": host, "backend": spec.tpm.value}
    try:
        acted = await session.lab.tpm(host, TpmAct.INFO)
    except ProductError as error:
        return {**row, "state": str(error)}
    info = msgspec.to_builtins(acted.info) if acted.info else {}
    state = "off" if acted.info is None else "failed" if acted.info.failed else "on"
    pcrs = {str(i): value.hex() for i, value in sorted(acted.pcrs.items())}
    return {**row, **info, "backend": row["backend"], "state": state, "ek": acted.ek, "pcrs": pcrs}


@verb("get.links", Nothing)
async def links(session: Session, _: Nothing) -> Row:
    """Links of the behaviour model (vCenter - KMS, vCenter - host) and rules on any link."""
    lab = session.lab
    pairs = [(lab.vcenter, k) for k in session.key_servers()]
    pairs += [(lab.vcenter, h) for h in lab.hosts()]
    known = {p for a, b in pairs for p in ((a, b), (b, a))}
    rules = lab.rules()
    pairs += [(r.src, r.dst) for r in rules if (r.src, r.dst) not in known]
    items = []
    for a, b in pairs:
        for src, dst in ((a, b), (b, a)) if (b, a) in known else ((a, b),):
            on = [r for r in rules if r.src == src and r.dst == dst]
            items.append(
                {
                    "src": src,
                    "dst": dst,
                    "state": "cut"
                    if any(isinstance(r, CutRule) for r in on)
                    else "faulty"
                    if on
                    else "up",
                    "rules": [_rule(msgspec.to_builtins(r)) for r in on],
                }
            )
    return {"kind": "LinkList", "items": items}


def _rule(rule: Row) -> Row:
    return {k: v for k, v in rule.items() if v and k not in ("src", "dst", "until")}


@verb("get.nodes", Nothing)
async def nodes(session: Session, _: Nothing) -> Row:
    items = [msgspec.to_builtins(s) for s in await session.lab.nodes()]
    return {"kind": "NodeList", "items": items}


class EventsArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    after: int = 0
    limit: int = 1000


@verb("events", EventsArgument)
async def events(session: Session, arguments: EventsArgument) -> Row:
    """vCenter's event log above a sequence number, oldest first."""
    reply = await session.lab.ask(
        session.lab.vcenter, ListEvents(after=arguments.after, limit=arguments.limit)
    )
    items = [{**msgspec.to_builtins(e), "keys": [str(k) for k in e.keys]} for e in reply.events]
    return {"kind": "EventList", "items": items}


@verb("status", Nothing)
async def status(session: Session, _: Nothing) -> Row:
    """One summary: nodes by state, what vCenter sees, faults in force."""
    lab = session.lab
    machines: dict[str, int] = {}
    for node in await lab.nodes():
        machines[node.state.value] = machines.get(node.state.value, 0) + 1
    row: Row = {
        "kind": "LabStatus",
        "name": lab.topology.name,
        "mode": lab.mode,
        "pace": lab.topology.pace,
        "lab_time": round(lab.monotonic(), 3),
        "nodes": dict(sorted(machines.items())),
        "faults": [f.fault.id for f in session.keeper.active()],
        "vcenter": "up" if await vcenter_up(session) else "down",
    }
    if row["vcenter"] == "up":
        seen = (await vms(session, Nothing()))["items"]
        row["vms"] = {
            "on": sum(v["power"] == "poweredOn" for v in seen),
            "off": sum(v["power"] == "poweredOff" for v in seen),
            "locked": sum(v["crypto"] == "locked" for v in seen),
        }
    return row


@verb("get.host-view", NodeArgument)
async def host_view(session: Session, arguments: NodeArgument) -> Row:
    """The host's own view of itself, at its console."""
    summary = (await session.lab.ask(session.host(arguments.node), QueryHost())).summary
    return {"kind": "HostView", **msgspec.to_builtins(summary)}
