"""``describe``: everything that is known of one object, and why it is so, with rule and cure."""

from __future__ import annotations

import hashlib

import msgspec

from chaos.observe.listing import all_events, all_vms
from lab.schema import commands
from lab.schema.answers import (
    EventLine,
    HostDescription,
    KeyOfVm,
    MachineState,
    ProviderDescription,
    ProviderServer,
    Reason,
    VirtualTpm,
    VmDescription,
)
from lab.serve.executing import executes
from lab.serve.explaining.facts import VmStatus
from lab.serve.explaining.observed import (
    fetch_host_summary,
    host_facts,
    host_in_vcenter,
    is_cut,
    key_facts,
    keys_on,
    provider_in_vcenter,
)
from lab.serve.explaining.reasons import of_host, of_provider, of_vm
from lab.serve.keyservers.replication import peers_text
from lab.serve.look import list_connected_hosts, tpm_of, vcenter_up
from lab.serve.machines import cure_of, fetch_node
from lab.serve.session import LabSession
from lab.serve.views import (
    event_line,
    host_view,
    key_ref,
    own_view,
    provider_view,
    vm_on_host,
    vm_view,
)
from lab.serve.vms.whereabouts import at_vm
from protocol.crypto.ek_certificate import certificate_flaw
from protocol.errors import ProductError
from protocol.messages.host import (
    QueryVmConfig,
    VmConfigState,
    VmSummary,
)
from protocol.messages.vcenter import (
    KmipServer,
    KmipServerStatus,
    QueryVmca,
    VmInfo,
)
from protocol.terms import (
    KmipState,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from protocol.tpm.structures import PublicArea

LAST_EVENTS = 10

# ---- the three descriptions --------------------------------------------------------------


@executes
async def vm(session: LabSession, command: commands.DescribeVm) -> VmDescription:
    """See ``DescribeVm``."""
    name = session.vm(command.vm)
    session = await at_vm(session, name)
    up = await vcenter_up(session)
    listed = await _vm_in_vcenter(session, name) if up else None
    host = listed.host if listed else await _holder(session, name)
    if listed is None:  # its vCenter may be the one that cannot be asked
        session = session.at_host(host)
    own = await fetch_host_summary(session, host)
    mine = next((v for v in own.vms if v.vm == name), None) if own else None
    keys = mine.keys if mine else (listed.key,) if listed and listed.key else ()
    of_keys = tuple([await key_facts(session, k, host, own, of=listed) for k in keys])
    crypto = mine.crypto if mine else listed.crypto if listed else None
    facts = VmStatus(
        vm=name,
        power=mine.power.value if mine else None,
        crypto=crypto.value if crypto else None,
        vcenter=await _vcenter(session),
        wanted_on=mine.wanted is PowerState.ON if mine else None,
        orphaned=listed is not None and own is not None and mine is None,
        recorded=_other_key(listed, mine),
    )
    stale = listed is not None and host not in await list_connected_hosts(session, session.vcenter)
    config = await _config(session, host, name)
    return VmDescription(
        vm=name,
        host=host,
        vcenter=vm_view(listed, stale=stale) if listed else None,
        host_view=vm_on_host(mine) if mine else None,
        keys=tuple(
            KeyOfVm(
                key=key_ref(key),
                state=KmipState(f.state) if f.state else None,
                stored=f.stored_on_host,
                kind=f.kind,
            )
            for key, f in zip(keys, of_keys, strict=True)
        ),
        reasons=tuple(of_vm(facts, await host_facts(session, host, own), of_keys)),
        events=await _last_events(session, vm=name),
        faults=_faults(session),
        vtpm=await _virtual_tpm(session, config),
        firmware=config.firmware if config else "",
        hardware=config.hardware if config else 0,
    )


def _other_key(listed: VmInfo | None, mine: VmSummary | None) -> str:
    """The key of the VM's home that vCenter has, when its host names another one; else empty."""
    if listed is None or listed.key is None or mine is None or not mine.keys:
        return ""
    return "" if listed.key == mine.keys[0] else str(listed.key)


@executes
async def host(session: LabSession, command: commands.DescribeHost) -> HostDescription:
    """See ``DescribeHost``."""
    name = session.host(command.host)
    session = session.at_host(name)
    own = await fetch_host_summary(session, name)
    facts = await host_facts(session, name, own)
    up = await vcenter_up(session)
    listed = await host_in_vcenter(session, name) if up else None
    machine = await fetch_node(session, name)
    configured = (own.crypto_key_id,) if own and own.crypto_key_id else ()
    return HostDescription(
        host=name,
        machine=machine,
        vcenter=host_view(listed, machine) if listed else None,
        host_view=own_view(own) if own else None,
        keys=await keys_on(session, name) if own else (),
        host_key=next(iter(await keys_on(session, name, *configured)), None)
        if configured
        else None,
        tpm=await tpm_of(session, name),
        reasons=tuple(of_host(facts, await _vcenter(session))),
        events=await _last_events(session, host=name),
        faults=_faults(session),
    )


@executes
async def provider(session: LabSession, command: commands.DescribeProvider) -> ProviderDescription:
    """See ``DescribeProvider``."""
    listed = await provider_in_vcenter(session, command.provider)
    reasons: list[Reason] = []
    rows: list[ProviderServer] = []
    found = zip(listed.servers, listed.contacts, strict=True) if listed else ()
    for at, contact in found:
        server = at.node
        if not server:  # one outside of the lab, of which vCenter alone knows
            rows.append(_row(at, contact))
            continue
        if is_cut(session, session.vcenter, server):
            text = f"The link between vCenter and {server} is cut."
            reasons.append(Reason(text, "STD-08", "keystead heal --all"))
        state = (await fetch_node(session, server)).state
        if state is not MachineState.RUNNING:
            cure = cure_of(session, server, state)
            reasons.append(Reason(f"{server} is {state.value}.", "STD-08", cure))
        peer = await peers_text(session, server) if state is MachineState.RUNNING else ""
        rows.append(_row(at, contact, state, peer))
    if listed is not None:
        reasons += of_provider(listed)
    else:
        reasons.append(
            Reason("vCenter has no provider of that name.", "DEL-01", "keystead provider add")
        )
    return ProviderDescription(
        provider=ProviderId(command.provider),
        vcenter=provider_view(listed) if listed else None,
        servers=tuple(rows),
        reasons=tuple(reasons),
        faults=_faults(session),
    )


def _row(
    at: KmipServer, contact: KmipServerStatus, machine: MachineState | None = None, peer: str = ""
) -> ProviderServer:
    return ProviderServer(
        server=contact.name,
        machine=machine,
        timeout=None if at.timeout is msgspec.UNSET else at.timeout,
        user=at.user_name or "",
        status=contact.status,
        last_contact=contact.last_contact,
        why=contact.why,
        peer=peer,
    )


# ---- who is asked ------------------------------------------------------------------------


async def _vm_in_vcenter(session: LabSession, vm: VmName) -> VmInfo | None:
    listed = await all_vms(session.lab, session.vcenter)
    return next((v for v in listed if v.vm == vm), None)


async def _config(session: LabSession, host: NodeName, vm: VmName) -> VmConfigState | None:
    """What the VM's files say, by its host; None when that does not answer or cannot read them."""
    try:
        return await session.lab.ask(host, QueryVmConfig(vm=vm))
    except ProductError:
        return None


async def _virtual_tpm(session: LabSession, config: VmConfigState | None) -> VirtualTpm | None:
    if config is None or not config.vtpm:
        return None
    ek = hashlib.sha256(config.ek).hexdigest()
    if not config.certificate:
        return VirtualTpm(ek=ek, certificate_flaw="it has none")
    try:
        ca = (await session.lab.ask(session.lab.vcenter, QueryVmca())).certificate
    except ProductError:
        return VirtualTpm(ek=ek, certificate_flaw="vCenter does not answer: nobody to ask for VMCA")
    flaw = certificate_flaw(config.certificate, PublicArea(config.ek), ca)
    return VirtualTpm(ek=ek, certificate_flaw=flaw)


async def _vcenter(session: LabSession) -> str:
    """The state of vCenter's machine."""
    return (await fetch_node(session, session.vcenter)).state.value


async def _holder(session: LabSession, name: VmName) -> NodeName:
    """The host that has it registered, asked host by host; where the lab put it otherwise."""
    for host in session.lab.hosts():
        own = await fetch_host_summary(session, host)
        if own is not None and any(v.vm == name for v in own.vms):
            return host
    return next((v.host for v in session.lab.topology.vms if v.vm == name), session.lab.hosts()[0])


async def _last_events(
    session: LabSession, *, vm: str = "", host: str = ""
) -> tuple[EventLine, ...]:
    """The last events about it, oldest first; none while vCenter is down."""
    if not await vcenter_up(session):
        return ()
    log = await all_events(session.lab, session.vcenter)
    found = [e for e in log if (vm and e.vm == vm) or (host and e.host == host)]
    return tuple(event_line(e) for e in found[-LAST_EVENTS:])


def _faults(session: LabSession) -> tuple[str, ...]:
    return tuple(f.summary for f in session.keeper.active())
