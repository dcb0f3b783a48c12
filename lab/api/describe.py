"""``describe``: everything that is known of one object, and why it is so, with rule and cure."""

from __future__ import annotations

from typing import Any

import msgspec

from lab.api.look import tpm_row, vcenter_up
from lab.api.reasons import HostFacts, KeyFacts, Reason, VmFacts, of_host, of_vm
from lab.api.table import Session, verb
from protocol.errors import ProductError
from protocol.messages.agent import CutRule, NodeRunState
from protocol.messages.host import GetCryptoKeyStatus, HostSummary, QueryHost
from protocol.messages.kms import GetAttributes
from protocol.messages.vcenter import ListEvents, ListHosts, ListKmsClusters, ListVms
from protocol.terms import CryptoKeyId, HostConnectionState, NodeName, PowerState, VmName

Row = dict[str, Any]


class DescribeArgument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str


async def _host_view(session: Session, host: NodeName) -> HostSummary | None:
    """The host's own view, or None when there is nobody to ask."""
    try:
        return (await session.lab.ask(host, QueryHost())).summary
    except ProductError:
        return None


def _cut(session: Session, a: NodeName, b: NodeName) -> bool:
    return any(isinstance(r, CutRule) and {r.src, r.dst} == {a, b} for r in session.lab.rules())


async def _host_facts(session: Session, host: NodeName, own: HostSummary | None) -> HostFacts:
    lab = session.lab
    status = await lab.status(host)
    connected: bool | None = None
    if await vcenter_up(session):
        listed = (await lab.ask(lab.vcenter, ListHosts())).hosts
        connected = any(
            h.host == host and h.connection is HostConnectionState.CONNECTED for h in listed
        )
    return HostFacts(
        host=host,
        machine=status.state.value,
        screen=status.screen,
        connected=connected,
        crypto_state=own.crypto_state.value if own else None,
        persistence=own.key_persistence if own else None,
        tpm=own.tpm_present if own else None,
        mode=own.protection_mode.value if own else None,
        stored=own.stored_keys if own else 0,
        cached=own.cached_keys if own else 0,
        boot=status.boot,
        link_cut=_cut(session, lab.vcenter, host),
        paused=await lab.paused(host),
    )


async def _key_facts(session: Session, key: CryptoKeyId, host: NodeName) -> KeyFacts:
    lab = session.lab
    listed: bool | None = None
    status: str | None = None
    servers = session.key_servers()
    if await vcenter_up(session):
        providers = (await lab.ask(lab.vcenter, ListKmsClusters())).providers
        mine = next((p for p in providers if p.provider == key.provider_id), None)
        listed, status = mine is not None, mine.status if mine else None
        servers = tuple(s.node for s in mine.servers) if mine else servers
    up = [s for s in servers if (await lab.status(s)).state is NodeRunState.RUNNING]
    state: str | None = None
    for server in up:
        found = (await lab.ask(server, GetAttributes(key_ids=(key.key_id,)))).keys
        if found:
            state = found[0].state.value
            break
    stored: bool | None = None
    try:
        answer = await lab.ask(host, GetCryptoKeyStatus(keys=(key,)))
        stored = any(k.stored for k in answer.keys)
    except ProductError:
        stored = None
    return KeyFacts(
        key=str(key),
        provider=key.provider_id,
        provider_listed=listed,
        provider_status=status,
        servers_up=bool(up),
        link_cut=bool(servers) and all(_cut(session, lab.vcenter, s) for s in servers),
        state=state,
        asked_server=bool(up),
        stored_on_host=stored,
    )


def _reasons(reasons: list[Reason]) -> list[Row]:
    return [{"why": r.text, "rule": r.rule, "cure": r.cure} for r in reasons]


async def _events(session: Session, *, vm: str = "", host: str = "") -> list[Row]:
    """The last ten events about it, oldest first; none while vCenter is down."""
    if not await vcenter_up(session):
        return []
    after, found = 0, []
    while True:
        page = (await session.lab.ask(session.lab.vcenter, ListEvents(after=after))).events
        found += [e for e in page if (vm and e.vm == vm) or (host and e.host == host)]
        if not page:
            break
        after = page[-1].sequence
    return [
        {"sequence": e.sequence, "at": e.at, "event": e.event.value, "text": e.text}
        for e in found[-10:]
    ]


@verb("describe.vm", DescribeArgument)
async def vm(session: Session, arguments: DescribeArgument) -> Row:
    """A VM in vCenter's and its host's view, its keys everywhere, and why it is as it is."""
    lab, name = session.lab, session.vm(arguments.name)
    up = await vcenter_up(session)
    seen = None
    if up:
        listed = (await lab.ask(lab.vcenter, ListVms())).vms
        seen = next((v for v in listed if v.vm == name), None)
    host = seen.host if seen else await _holder(session, name)
    own = await _host_view(session, host)
    mine = next((v for v in own.vms if v.vm == name), None) if own else None
    keys = mine.keys if mine else (seen.key,) if seen and seen.key else ()
    key_facts = tuple([await _key_facts(session, k, host) for k in keys])
    facts = VmFacts(
        vm=name,
        power=mine.power.value if mine else None,
        crypto=_value(mine.crypto) if mine else _value(seen.crypto) if seen else None,
        vcenter_up=up,
        wanted_on=mine.wanted is PowerState.ON if mine else None,
    )
    reasons = of_vm(facts, await _host_facts(session, host, own), key_facts)
    return {
        "kind": "VmDescription",
        "vm": name,
        "host": host,
        "vcenter": None if seen is None else {**msgspec.to_builtins(seen), **_ids(seen)},
        "host_view": None if mine is None else msgspec.to_builtins(mine),
        "keys": [{"key": k.key, "state": k.state, "stored": k.stored_on_host} for k in key_facts],
        "reasons": _reasons(reasons),
        "events": await _events(session, vm=name),
        "faults": [f.summary for f in session.keeper.active()],
    }


def _value(state: Any) -> str | None:
    return None if state is None else state.value


def _ids(seen: Any) -> Row:
    return {
        "key": str(seen.key) if seen.key else None,
        "missing": [str(k) for k in seen.missing],
    }


async def _holder(session: Session, name: VmName) -> NodeName:
    """The host that has it registered, asked host by host; where the lab put it otherwise."""
    for host in session.lab.hosts():
        own = await _host_view(session, host)
        if own is not None and any(v.vm == name for v in own.vms):
            return host
    return next((v.host for v in session.lab.topology.vms if v.vm == name), session.lab.hosts()[0])


@verb("describe.host", DescribeArgument)
async def host(session: Session, arguments: DescribeArgument) -> Row:
    lab, name = session.lab, session.host(arguments.name)
    own = await _host_view(session, name)
    facts = await _host_facts(session, name, own)
    seen = None
    if await vcenter_up(session):
        listed = (await lab.ask(lab.vcenter, ListHosts())).hosts
        seen = next((h for h in listed if h.host == name), None)
    return {
        "kind": "HostDescription",
        "host": name,
        "machine": msgspec.to_builtins(await lab.status(name)),
        "vcenter": None if seen is None else msgspec.to_builtins(seen),
        "host_view": None if own is None else msgspec.to_builtins(own),
        "tpm": await tpm_row(session, name),
        "reasons": _reasons(of_host(facts, await vcenter_up(session))),
        "events": await _events(session, host=name),
        "faults": [f.summary for f in session.keeper.active()],
    }


@verb("describe.provider", DescribeArgument)
async def provider(session: Session, arguments: DescribeArgument) -> Row:
    lab = session.lab
    listed = (await lab.ask(lab.vcenter, ListKmsClusters())).providers
    mine = next((p for p in listed if p.provider == arguments.name), None)
    servers = [s.node for s in mine.servers] if mine else []
    reasons: list[Reason] = []
    for server in servers:
        if _cut(session, lab.vcenter, server):
            text = f"The link between vCenter and {server} is cut."
            reasons.append(Reason(text, "STD-08", "keystead heal --all"))
        if (await lab.status(server)).state is not NodeRunState.RUNNING:
            cure = f"keystead host power-on {server}"
            reasons.append(Reason(f"{server} is not running.", "STD-08", cure))
    if mine is None:
        reasons.append(
            Reason("vCenter has no provider of that name.", "DEL-01", "keystead provider add")
        )
    return {
        "kind": "ProviderDescription",
        "provider": arguments.name,
        "vcenter": None if mine is None else msgspec.to_builtins(mine),
        "reasons": _reasons(reasons),
        "faults": [f.summary for f in session.keeper.active()],
    }
