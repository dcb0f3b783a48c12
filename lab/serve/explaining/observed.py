"""What is asked of vCenter, a host and key servers before anybody says why (``reasons``)."""

from __future__ import annotations

import msgspec

from chaos.observe.listing import all_hosts, all_providers
from chaos.providers import KIND_BY_WORD, STANDARD, kind_of
from lab.schema.answers import KeyOnHost, MachineState
from lab.serve.explaining.facts import HostStatus, KeyFacts
from lab.serve.look import vcenter_up
from lab.serve.machines import fetch_node
from lab.serve.session import LabSession
from lab.serve.several_machines import find_lost_machine
from lab.serve.upgrade import newest_of
from lab.serve.views import key_ref
from protocol.errors import ProductError
from protocol.messages.agent import CutRule
from protocol.messages.host import GetCryptoKeyStatus, HostSummary, QueryHost, TrustView
from protocol.messages.host.vsan import QueryVsan
from protocol.messages.kms import GetAttributes
from protocol.messages.vcenter import HostInfo, ProviderInfo, QueryCryptoKeyStatus, VmInfo
from protocol.releases import FEATURES, Feature, format_release, has, release_of
from protocol.terms import (
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    ProviderId,
)
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
    """The host's own view, or None when there is nobody to ask."""
    try:
        return (await session.lab.ask(host, QueryHost())).summary
    except ProductError:
        return None


def is_cut(session: LabSession, a: NodeName, b: NodeName) -> bool:
    """Whether a rule in force cuts the link of two nodes, in either direction."""
    return any(isinstance(r, CutRule) and {r.src, r.dst} == {a, b} for r in session.lab.rules())


async def host_facts(session: LabSession, host: NodeName, own: HostSummary | None) -> HostStatus:
    """What is seen of a host; ``own`` is its own view, None where nobody can be asked."""
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
    """Of a provider that vCenter does not list, or cannot be asked of: as its host was told of it,
    else as the lab was planned; a standard one where neither knows the name."""
    for ref in own.providers if own else ():
        if ref.provider_id == provider:
            return ref.management_type
    planned = (p.type for p in session.lab.topology.providers if p.provider == provider)
    return KIND_BY_WORD.get(next(planned, ""), STANDARD).management_type
