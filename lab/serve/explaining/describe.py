"""``describe``: everything that is known of one object, and why it is so, with rule and cure.

What is requested from vCenter, a host and key servers comes first; ``reasons`` decides on it.
"""

from __future__ import annotations

import hashlib

import msgspec

from chaos.observe.look import all_events, all_hosts, all_providers, all_vms
from chaos.providers import KIND_BY_WORD, STANDARD, kind_of
from lab.schema import commands
from lab.schema.answers import (
    EventLine,
    HostDescription,
    KeyOfVm,
    KeyOnHost,
    MachineState,
    ProviderDescription,
    ProviderServer,
    Reason,
    VirtualTpm,
    VmDescription,
)
from lab.serve.explaining.facts import HostStatus, KeyFacts, VmStatus
from lab.serve.explaining.reasons import of_host, of_provider, of_vm
from lab.serve.look import list_connected_hosts, peers_text, tpm_of, vcenter_up
from lab.serve.machines import cure_of, fetch_node, find_lost_machine
from lab.serve.session import LabSession, executes
from lab.serve.upgrade import newest_of
from lab.serve.views import (
    event_line,
    host_view,
    key_ref,
    own_view,
    provider_view,
    vm_on_host,
    vm_view,
)
from lab.serve.vms.vms import at_vm
from protocol.crypto.ek_certificate import certificate_flaw
from protocol.errors import ProductError
from protocol.messages.agent import CutRule
from protocol.messages.host.crypto import GetCryptoKeyStatus
from protocol.messages.host.session import HostSummary, QueryHost, TrustView, VmSummary
from protocol.messages.host.vms import QueryVmConfig, VmConfigState
from protocol.messages.host.vsan import QueryVsan
from protocol.messages.kms.keys import GetAttributes
from protocol.messages.vcenter.inventory import HostInfo
from protocol.messages.vcenter.providers import (
    KmipServer,
    KmipServerStatus,
    ProviderInfo,
    QueryCryptoKeyStatus,
)
from protocol.messages.vcenter.vms import QueryVmca, VmInfo
from protocol.releases import FEATURES, Feature, format_release, has, release_of
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyUnavailableReason,
    KmipState,
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from protocol.tpm.structures import PublicArea
from protocol.trust import TrustAttestationStatus


async def keys_on(
    session: LabSession, host: NodeName, *named: CryptoKeyId
) -> tuple[KeyOnHost, ...]:
    """Every key in the host's cache or store, or those named, of which it is asked itself."""
    try:
        listed = await session.lab.ask(host, GetCryptoKeyStatus(keys=named, managed=True))
    except ProductError:
        return ()
    return tuple(
        KeyOnHost(
            key=key_ref(key.key),
            cached=key.present,
            stored=key.stored,
            loaded=None if key.loaded is msgspec.UNSET else key.loaded,
            managed=None if key.management_type is msgspec.UNSET else key.management_type,
        )
        for key in listed.keys
    )


async def host_in_vcenter(session: LabSession, host: NodeName) -> HostInfo | None:
    """The host as vCenter lists it; None: not in its inventory."""
    listed = await all_hosts(session.lab, session.vcenter)
    return next((h for h in listed if h.host == host), None)


async def provider_in_vcenter(session: LabSession, provider: str) -> ProviderInfo | None:
    """The key provider as vCenter lists it; None: it has none of that name."""
    listed = await all_providers(session.lab, session.vcenter)
    return next((p for p in listed if p.provider == provider), None)


async def fetch_host_summary(session: LabSession, host: NodeName) -> HostSummary | None:
    """The host's own view; None when the host does not answer."""
    try:
        return (await session.lab.ask(host, QueryHost())).summary
    except ProductError:
        return None


def is_cut(session: LabSession, a: NodeName, b: NodeName) -> bool:
    """Whether a rule in force cuts the link of two nodes, in either direction."""
    return any(isinstance(r, CutRule) and {r.src, r.dst} == {a, b} for r in session.lab.rules())


async def host_facts(session: LabSession, host: NodeName, own: HostSummary | None) -> HostStatus:
    """What is seen of a host; ``own`` is its own view, None when it does not answer."""
    machine = await fetch_node(session, host)
    connected: bool | None = None
    listed: HostInfo | None = None
    attestation = ""
    up = await vcenter_up(session)
    if up:
        listed = await host_in_vcenter(session, host)
        connected = listed is not None and listed.connection is HostConnectionState.CONNECTED
        if listed is not None and listed.attestation is not None:
            attestation = listed.attestation.message
    trust = own.trusted if own is not None and isinstance(own.trusted, TrustView) else None
    return HostStatus(
        host=host,
        machine=machine.state.value,
        screen=machine.screen,
        connected=connected,
        vcenter=session.vcenter,
        cluster=session.lab.spec(host).cluster,
        crypto_state=own.crypto_state.value if own else None,
        host_key=await _host_key(session, host, own),
        persistence=own.key_persistence if own else None,
        saves_hourly=session.lab.spec(host).knobs.get("config_save") == "hourly",
        ended_before=machine.ended_before,
        tpm=own.tpm_present if own else None,
        mode=own.protection_mode.value if own else None,
        attestation=attestation,
        stored=own.stored_keys if own else 0,
        cached=own.cached_keys if own else 0,
        boot=machine.boot,
        link_cut=is_cut(session, session.vcenter, host),
        removed=up and listed is None,
        disconnected=listed is not None and listed.connection is HostConnectionState.DISCONNECTED,
        maintenance=own is not None and own.in_maintenance_mode,
        derives=own.kdks if own else (),
        only_native=own is not None and _only_native(own),
        trusted=trust is not None,
        unattested=_describe_refusal(trust),
        too_old=own is not None and not has(release_of(own.version), Feature.KEY_PERSISTENCE),
        upgrade=_upgrade(session, host),
        unmounted=() if own is None else await _fetch_unmounted_groups(session, host),
        lost=find_lost_machine(session, host),
        kept_off=session.lab.explain_exclusion(host),
        vcenter_lost=find_lost_machine(session, session.vcenter),
        vcenter_fault=any(
            session.vcenter in one.fault.touches() and one.fault.between() is None
            for one in session.keeper.active()
        ),
    )


def _only_native(own: HostSummary) -> bool:
    return bool(own.providers) and all(kind_of(p.management_type).derived for p in own.providers)


async def _fetch_unmounted_groups(
    session: LabSession, host: NodeName
) -> tuple[tuple[str, str], ...]:
    try:
        groups = (await session.lab.ask(host, QueryVsan())).groups
    except ProductError:
        return ()
    return tuple((group.group, group.why) for group in groups if not group.mounted)


def _describe_refusal(trust: TrustView | None) -> str:
    """What the services that refused a trusted host say; empty when one has attested it."""
    reports = () if trust is None else trust.reports
    if any(report.status is TrustAttestationStatus.ATTESTED for report in reports):
        return ""
    refused = [r for r in reports if r.status is TrustAttestationStatus.NOT_ATTESTED]
    said = {message: None for report in refused for message in report.messages}
    return f"it is not attested: {'; '.join(said)}" if refused else ""


def _upgrade(session: LabSession, host: NodeName) -> str:
    """The command that brings a release with key persistence; empty if vCenter has none of it."""
    wanted = FEATURES[Feature.KEY_PERSISTENCE].release
    to = f"keystead host upgrade {host} --to {format_release(wanted)}"
    return to if newest_of(session, host) >= wanted else ""


async def _host_key(
    session: LabSession, host: NodeName, own: HostSummary | None
) -> KeyFacts | None:
    """Its configured host key, of a host that lacks it."""
    lacks = own is not None and own.crypto_state is HostCryptoState.PREPARED
    if own is None or own.crypto_key_id is None or not lacks:
        return None
    return await key_facts(session, own.crypto_key_id, host, own)


async def key_facts(
    session: LabSession,
    key: CryptoKeyId,
    host: NodeName,
    own: HostSummary | None,
    *,
    of: VmInfo | None = None,
) -> KeyFacts:
    """What is seen of a key, and of the ways by which it comes to this host. ``of``: the VM whose
    key it is, as vCenter lists it."""
    lab = session.lab
    listed: bool | None = None
    mine: ProviderInfo | None = None
    servers, outside = session.key_servers(), False
    if await vcenter_up(session):
        mine = await provider_in_vcenter(session, key.provider_id)
        listed = mine is not None
        servers = tuple(s.node for s in mine.servers if s.node) if mine else servers
        outside = mine is not None and not all(s.node for s in mine.servers)
    up = [s for s in servers if (await fetch_node(session, s)).state is MachineState.RUNNING]
    state: str | None = None
    for server in up:
        found = (await lab.ask(server, GetAttributes(key_ids=(key.key_id,)))).keys
        if found:
            state = found[0].state.value
            break
    at_host = next(iter(await keys_on(session, host, key)), None)
    return KeyFacts(
        key=str(key),
        provider=key.provider_id,
        provider_listed=listed,
        servers_up=bool(up) or outside,
        link_cut=bool(servers)
        and not outside
        and all(is_cut(session, session.vcenter, s) for s in servers),
        state=state,
        asked_server=bool(up),
        stored_on_host=at_host.stored if at_host else None,
        loaded=at_host.loaded if at_host else None,
        kind=mine.management_type if mine else _kind(session, key.provider_id, own),
        not_granted=of.vm if of is not None and key in (of.not_granted or ()) else "",
        not_served_to=session.vcenter if state and await _is_not_served(session, key, of) else "",
    )


async def _is_not_served(session: LabSession, key: CryptoKeyId, of: VmInfo | None) -> bool:
    """Whether key servers tell vCenter that they do not have the key of this locked VM."""
    if of is None or of.lock_event is None:
        return False
    try:
        asked = QueryCryptoKeyStatus(keys=(key,))
        [told] = (await session.lab.ask(session.vcenter, asked)).keys
    except ProductError:
        return False
    return told.reason is KeyUnavailableReason.MISSING_IN_KMS


def _kind(session: LabSession, provider: ProviderId, own: HostSummary | None) -> ManagementType:
    """The kind of a provider that vCenter does not list, or when vCenter does not answer: as its
    host has it, else as the lab's plan has it, else standard."""
    for ref in own.providers if own else ():
        if ref.provider_id == provider:
            return ref.management_type
    planned = (p.type for p in session.lab.topology.providers if p.provider == provider)
    return KIND_BY_WORD.get(next(planned, ""), STANDARD).management_type


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
