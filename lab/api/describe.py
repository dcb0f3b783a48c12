"""``describe``: everything that is known of one object, and why it is so, with rule and cure."""

from __future__ import annotations

import hashlib

import msgspec

from chaos.observe.listing import all_events, all_hosts, all_providers, all_vms
from lab.api import commands
from lab.api.answers import (
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
from lab.api.look import connected_hosts, tpm_of, vcenter_up
from lab.api.machines import CURES, seen
from lab.api.reasons import HostFacts, KeyFacts, VmFacts, of_host, of_vm
from lab.api.replication import peers_text
from lab.api.session import Session
from lab.api.upgrade import newest_of
from lab.api.views import (
    event_line,
    host_view,
    key_ref,
    own_view,
    provider_view,
    vm_on_host,
    vm_view,
)
from lab.api.whereabouts import at_vm
from protocol.crypto.ek_certificate import certificate_flaw
from protocol.errors import ProductError
from protocol.messages.agent import CutRule
from protocol.messages.host import (
    GetCryptoKeyStatus,
    HostSummary,
    QueryHost,
    QueryVmConfig,
    TrustView,
    VmConfigState,
)
from protocol.messages.kms import GetAttributes
from protocol.messages.vcenter import (
    HostInfo,
    KmipServer,
    KmipServerStatus,
    ProviderInfo,
    QueryVmca,
    VmInfo,
)
from protocol.releases import FEATURES, Feature, has, release_of, written
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    KmipState,
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from protocol.tpm.structures import PublicArea
from protocol.trust import TrustAttestationStatus

LAST_EVENTS = 10

# ---- the three descriptions --------------------------------------------------------------


async def vm(session: Session, command: commands.DescribeVm) -> VmDescription:
    """See ``DescribeVm``."""
    name = session.vm(command.vm)
    session = await at_vm(session, name)
    up = await vcenter_up(session)
    listed = await _vm_in_vcenter(session, name) if up else None
    host = listed.host if listed else await _holder(session, name)
    own = await _asked_itself(session, host)
    mine = next((v for v in own.vms if v.vm == name), None) if own else None
    keys = mine.keys if mine else (listed.key,) if listed and listed.key else ()
    key_facts = tuple([await _key_facts(session, k, host) for k in keys])
    crypto = mine.crypto if mine else listed.crypto if listed else None
    facts = VmFacts(
        vm=name,
        power=mine.power.value if mine else None,
        crypto=crypto.value if crypto else None,
        vcenter=await _vcenter(session),
        wanted_on=mine.wanted is PowerState.ON if mine else None,
    )
    stale = listed is not None and host not in await connected_hosts(session, session.vcenter)
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
            )
            for key, f in zip(keys, key_facts, strict=True)
        ),
        reasons=tuple(of_vm(facts, await _host_facts(session, host, own), key_facts)),
        events=await _last_events(session, vm=name),
        faults=_faults(session),
        vtpm=await _virtual_tpm(session, config),
        firmware=config.firmware if config else "",
        hardware=config.hardware if config else 0,
    )


async def host(session: Session, command: commands.DescribeHost) -> HostDescription:
    """See ``DescribeHost``."""
    name = session.host(command.host)
    session = session.at_host(name)
    own = await _asked_itself(session, name)
    facts = await _host_facts(session, name, own)
    up = await vcenter_up(session)
    listed = await _host_in_vcenter(session, name) if up else None
    machine = await seen(session, name)
    configured = (own.crypto_key_id,) if own and own.crypto_key_id else ()
    return HostDescription(
        host=name,
        machine=machine,
        vcenter=host_view(listed, machine) if listed else None,
        host_view=own_view(own) if own else None,
        keys=await _keys_on(session, name) if own else (),
        host_key=next(iter(await _keys_on(session, name, *configured)), None)
        if configured
        else None,
        tpm=await tpm_of(session, name),
        reasons=tuple(of_host(facts, await _vcenter(session))),
        events=await _last_events(session, host=name),
        faults=_faults(session),
    )


async def provider(session: Session, command: commands.DescribeProvider) -> ProviderDescription:
    """See ``DescribeProvider``."""
    listed = await _provider_in_vcenter(session, command.provider)
    reasons: list[Reason] = []
    rows: list[ProviderServer] = []
    found = zip(listed.servers, listed.contacts, strict=True) if listed else ()
    for at, contact in found:
        server = at.node
        if not server:  # one outside of the lab, of which vCenter alone knows
            rows.append(_row(at, contact))
            continue
        if _cut(session, session.vcenter, server):
            text = f"The link between vCenter and {server} is cut."
            reasons.append(Reason(text, "STD-08", "keystead heal --all"))
        state = (await seen(session, server)).state
        if state is not MachineState.RUNNING:
            cure = CURES[state].format(node=server)
            reasons.append(Reason(f"{server} is {state.value}.", "STD-08", cure))
        peer = await peers_text(session, server) if state is MachineState.RUNNING else ""
        rows.append(_row(at, contact, state, peer))
    if listed is None:
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


async def _keys_on(session: Session, host: NodeName, *named: CryptoKeyId) -> tuple[KeyOnHost, ...]:
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
            managed=None if key.management_type is msgspec.UNSET else key.management_type,
        )
        for key in listed.keys
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


async def _vm_in_vcenter(session: Session, vm: VmName) -> VmInfo | None:
    listed = await all_vms(session.lab, session.vcenter)
    return next((v for v in listed if v.vm == vm), None)


async def _host_in_vcenter(session: Session, host: NodeName) -> HostInfo | None:
    listed = await all_hosts(session.lab, session.vcenter)
    return next((h for h in listed if h.host == host), None)


async def _provider_in_vcenter(session: Session, provider: str) -> ProviderInfo | None:
    listed = await all_providers(session.lab, session.vcenter)
    return next((p for p in listed if p.provider == provider), None)


async def _asked_itself(session: Session, host: NodeName) -> HostSummary | None:
    """The host's own view, or None when there is nobody to ask."""
    try:
        return (await session.lab.ask(host, QueryHost())).summary
    except ProductError:
        return None


async def _config(session: Session, host: NodeName, vm: VmName) -> VmConfigState | None:
    """What the VM's files say, by its host; None when that does not answer or cannot read them."""
    try:
        return await session.lab.ask(host, QueryVmConfig(vm=vm))
    except ProductError:
        return None


async def _virtual_tpm(session: Session, config: VmConfigState | None) -> VirtualTpm | None:
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


async def _vcenter(session: Session) -> str:
    """The state of vCenter's machine."""
    return (await seen(session, session.vcenter)).state.value


async def _holder(session: Session, name: VmName) -> NodeName:
    """The host that has it registered, asked host by host; where the lab put it otherwise."""
    for host in session.lab.hosts():
        own = await _asked_itself(session, host)
        if own is not None and any(v.vm == name for v in own.vms):
            return host
    return next((v.host for v in session.lab.topology.vms if v.vm == name), session.lab.hosts()[0])


async def _last_events(session: Session, *, vm: str = "", host: str = "") -> tuple[EventLine, ...]:
    """The last events about it, oldest first; none while vCenter is down."""
    if not await vcenter_up(session):
        return ()
    log = await all_events(session.lab, session.vcenter)
    found = [e for e in log if (vm and e.vm == vm) or (host and e.host == host)]
    return tuple(event_line(e) for e in found[-LAST_EVENTS:])


def _faults(session: Session) -> tuple[str, ...]:
    return tuple(f.summary for f in session.keeper.active())


# ---- facts for the reasons ---------------------------------------------------------------


def _cut(session: Session, a: NodeName, b: NodeName) -> bool:
    return any(isinstance(r, CutRule) and {r.src, r.dst} == {a, b} for r in session.lab.rules())


async def _host_facts(session: Session, host: NodeName, own: HostSummary | None) -> HostFacts:
    machine = await seen(session, host)
    connected: bool | None = None
    listed: HostInfo | None = None
    attestation = ""
    up = await vcenter_up(session)
    if up:
        listed = await _host_in_vcenter(session, host)
        connected = listed is not None and listed.connection is HostConnectionState.CONNECTED
        if listed is not None and listed.attestation is not None:
            attestation = listed.attestation.message
    trust = own.trusted if own is not None and isinstance(own.trusted, TrustView) else None
    return HostFacts(
        host=host,
        machine=machine.state.value,
        screen=machine.screen,
        connected=connected,
        crypto_state=own.crypto_state.value if own else None,
        persistence=own.key_persistence if own else None,
        tpm=own.tpm_present if own else None,
        mode=own.protection_mode.value if own else None,
        attestation=attestation,
        stored=own.stored_keys if own else 0,
        cached=own.cached_keys if own else 0,
        boot=machine.boot,
        link_cut=_cut(session, session.vcenter, host),
        removed=up and listed is None,
        disconnected=listed is not None and listed.connection is HostConnectionState.DISCONNECTED,
        maintenance=own is not None and own.in_maintenance_mode,
        derives=tuple(
            ref.provider_id
            for ref in (own.providers if own else ())
            if ref.management_type is ManagementType.NATIVE_PROVIDER
        ),
        trusted=trust is not None,
        unattested=_unattested(trust),
        too_old=own is not None and not has(release_of(own.version), Feature.KEY_PERSISTENCE),
        upgrade=_upgrade(session, host),
    )


def _unattested(trust: TrustView | None) -> str:
    """What the services that refused a trusted host say; empty when one has attested it."""
    reports = () if trust is None else trust.reports
    if any(report.status is TrustAttestationStatus.ATTESTED for report in reports):
        return ""
    refused = [r for r in reports if r.status is TrustAttestationStatus.NOT_ATTESTED]
    said = {message: None for report in refused for message in report.messages}
    return f"it is not attested: {'; '.join(said)}" if refused else ""


def _upgrade(session: Session, host: NodeName) -> str:
    """The command that brings a release with key persistence; empty if vCenter has none of it."""
    wanted = FEATURES[Feature.KEY_PERSISTENCE].release
    to = f"keystead host upgrade {host} --to {written(wanted)}"
    return to if newest_of(session, host) >= wanted else ""


async def _key_facts(session: Session, key: CryptoKeyId, host: NodeName) -> KeyFacts:
    lab = session.lab
    listed: bool | None = None
    native = False
    servers, outside = session.key_servers(), False
    if await vcenter_up(session):
        mine = await _provider_in_vcenter(session, key.provider_id)
        listed = mine is not None
        native = mine is not None and mine.management_type is ManagementType.NATIVE_PROVIDER
        servers = tuple(s.node for s in mine.servers if s.node) if mine else servers
        outside = mine is not None and not all(s.node for s in mine.servers)
    up = [s for s in servers if (await seen(session, s)).state is MachineState.RUNNING]
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
        servers_up=bool(up) or outside,
        link_cut=bool(servers)
        and not outside
        and all(_cut(session, session.vcenter, s) for s in servers),
        state=state,
        asked_server=bool(up),
        stored_on_host=stored,
        native=native,
    )
