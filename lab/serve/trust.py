"""Trust Authority: each step, asked of the vCenter that it is for."""

from __future__ import annotations

from typing import Any

import msgspec

from chaos import administration
from lab.building.trust import (
    TASK_S,
    enabling,
    image_of,
    list_kmip_servers,
    operators_key,
    set_up,
    trust_nodes,
)
from lab.schema import commands
from lab.schema.answers import (
    Key,
    Provider,
    TrustAdminList,
    TrustAdmins,
    TrustAuthority,
    TrustedHostList,
    TrustedHostState,
    TrustFile,
)
from lab.schema.errors import KeysteadError
from lab.serve.keyservers.keys import show
from lab.serve.session import LabSession, executes
from lab.serve.views import provider_view, view
from lab.topology.plan import TrustPlan
from protocol.errors import ProductError
from protocol.messages.base import Request
from protocol.messages.host.crypto import ExportTpmEndorsement
from protocol.messages.vcenter import providers as provider_messages
from protocol.messages.vcenter import trust as trust_messages
from protocol.printable import quote_if_needed
from protocol.secret import KeyMaterial
from protocol.terms import ClusterName, KeyId, ManagementType, NodeName, ProviderId
from protocol.trust import (
    BaseImage,
    TpmCaCertificate,
    TpmSettings,
    TrustAttestationStatus,
    TrustedEndorsementKey,
    TrustedPrincipal,
    TrustItem,
)


class TrustItemFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a file of an export holds: exactly one of these."""

    principal: TrustedPrincipal | None = None
    endorsement_key: TrustedEndorsementKey | None = None
    ca_certificate: TpmCaCertificate | None = None
    base_image: BaseImage | None = None
    services: trust_messages.ServicesInformation | None = None


def _plan(session: LabSession) -> TrustPlan:
    found = session.lab.topology.trust
    if found is None:
        raise KeysteadError("KS-USE-002", "the lab file has no section trust_authority")
    return found


def _authority(session: LabSession) -> NodeName:
    return session.chosen or _plan(session).vcenter


def _workload(session: LabSession) -> NodeName:
    return session.chosen or _plan(session).workload


async def _ask_authority(
    session: LabSession, message: Request[trust_messages.TrustAuthorityState]
) -> TrustAuthority:
    state = await session.ask(_authority(session), message, within_s=TASK_S)
    return view(
        TrustAuthority,
        state,
        require_endorsement_keys=state.settings.require_endorsement_keys,
        require_certificate_validation=state.settings.require_certificate_validation,
    )


async def _ask_workload(
    session: LabSession, message: Request[trust_messages.TrustedClusters]
) -> TrustedHostList:
    state = await session.ask(_workload(session), message, within_s=TASK_S)
    return view(
        TrustedHostList,
        state,
        items=tuple(
            view(TrustedHostState, host, attestation=_attestation(host))
            for host in sorted(state.hosts, key=lambda host: (host.cluster, host.host))
        ),
    )


def _attestation(host: trust_messages.TrustedHost) -> str:
    """Passed when one service attested it, failed when none did and one refused (TA-11)."""
    there = {report.status for report in host.reports}
    for status in (TrustAttestationStatus.ATTESTED, TrustAttestationStatus.NOT_ATTESTED):
        if status in there:
            return status.value
    return TrustAttestationStatus.UNKNOWN.value


# ---- the steps ---------------------------------------------------------------------------


@executes
async def admin(session: LabSession, command: commands.TrustAdmin) -> TrustAdminList:
    """See ``TrustAdmin``."""
    plan = _plan(session)
    vcenters = (session.chosen,) if session.chosen else (plan.vcenter, plan.workload)
    items = []
    for vcenter in vcenters:
        message = trust_messages.SetTrustedAdmin(member=command.member, remove=command.remove)
        members = (await session.ask(vcenter, message)).members
        items.append(TrustAdmins(vcenter=vcenter, members=members))
    return TrustAdminList(items=tuple(items))


@executes
async def enable(session: LabSession, command: commands.TrustEnable) -> TrustAuthority:
    """See ``TrustEnable``."""
    return await _ask_authority(session, enabling(_plan(session)))


@executes
async def export(session: LabSession, command: commands.TrustExport) -> TrustFile:
    """See ``TrustExport``."""
    found, of = await _export_item(session, command)
    session.files.write(command.file, KeyMaterial(msgspec.json.encode(found)))
    return TrustFile(item=command.item, of=of, file=command.file)


async def _export_item(
    session: LabSession, command: commands.TrustExport
) -> tuple[TrustItemFile, str]:
    lab = session.lab
    match command.item:
        case "principal":
            vcenter = _workload(session)
            told = await session.ask(vcenter, trust_messages.ExportPrincipal())
            return TrustItemFile(principal=told.principal), vcenter
        case "services-information":
            vcenter = _authority(session)
            message = trust_messages.ExportServicesInformation()
            services = await session.ask(vcenter, message, within_s=TASK_S)
            return TrustItemFile(services=services), vcenter
        case "base-image":
            host = session.host(command.host)
            return TrustItemFile(base_image=await image_of(lab, host)), host
        case _:
            return await _endorsement(session, command)


async def _endorsement(
    session: LabSession, command: commands.TrustExport
) -> tuple[TrustItemFile, str]:
    host = session.host(command.host)
    found = await session.ask(host, ExportTpmEndorsement())
    if command.item == "ca-certificate":
        if not found.ca_chain:
            text = (
                f"{host}: its TPM carries no certificate of its maker; export its endorsement key"
            )
            raise KeysteadError("KS-PRODUCT-001", text)
        chain = TpmCaCertificate(name=f"{host}-ca", chain=found.ca_chain)
        return TrustItemFile(ca_certificate=chain), host
    key = TrustedEndorsementKey(name=host, public_area=found.public_area)
    return TrustItemFile(endorsement_key=key), host


@executes
async def import_(session: LabSession, command: commands.TrustImport) -> TrustFile:
    """See ``TrustImport``."""
    found = _read(command.file, session.files.content(command.file).reveal())
    if found.services is not None:
        message = trust_messages.ImportServicesInformation(services=found.services)
        await session.ask(_workload(session), message, within_s=TASK_S)
        return TrustFile(item="services", of=_workload(session), file=command.file)
    (field,) = [name for name in found.__struct_fields__ if getattr(found, name) is not None]
    item: Any = getattr(found, field)
    importing = trust_messages.ImportToTrustAuthority(**{field: item})
    await session.ask(_authority(session), importing, within_s=TASK_S)
    name = getattr(item, "version", "") or item.name
    return TrustFile(item=field.replace("_", "-"), of=str(name), file=command.file)


def _read(path: str, raw: bytes) -> TrustItemFile:
    try:
        found = msgspec.json.decode(raw, type=TrustItemFile)
        if sum(getattr(found, name) is not None for name in found.__struct_fields__) != 1:
            raise ValueError("it holds not exactly one item")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise KeysteadError("KS-USE-003", f"{path}: it is no export: {error}") from None
    return found


@executes
async def settings(session: LabSession, command: commands.TrustSettings) -> TrustAuthority:
    """See ``TrustSettings``."""
    wanted = TpmSettings(
        require_endorsement_keys=command.require_endorsement_keys,
        require_certificate_validation=command.require_certificate_validation,
    )
    return await _ask_authority(session, trust_messages.SetTpmSettings(settings=wanted))


@executes
async def key_provider(session: LabSession, command: commands.TrustKeyProvider) -> TrustAuthority:
    """See ``TrustKeyProvider``."""
    servers = tuple(session.node(server) for server in command.servers)
    message = trust_messages.CreateTrustedKeyProvider(
        provider=ProviderId(command.provider),
        primary_key_id=KeyId(command.primary_key),
        servers=servers,
        by_kmip=list_kmip_servers(session.lab, servers),
    )
    made = await _ask_authority(session, message)
    services = [service for _, service in _plan(session).services]
    await trust_nodes(session.lab, services, message.by_kmip)
    return made


@executes
async def key_servers(session: LabSession, command: commands.TrustServers) -> TrustAuthority:
    """See ``TrustServers``."""
    provider = ProviderId(command.provider)
    return await _ask_authority(session, trust_messages.TrustKeyServers(provider=provider))


@executes
async def cluster(session: LabSession, command: commands.TrustCluster) -> TrustedHostList:
    """See ``TrustCluster``."""
    message = trust_messages.SetTrustedState(
        cluster=ClusterName(command.cluster), trusted=not command.off
    )
    return await _ask_workload(session, message)


@executes
async def register(session: LabSession, command: commands.TrustRegister) -> Provider:
    """See ``TrustRegister``."""
    await _check_made(session, command.provider)
    message = provider_messages.RegisterKmsCluster(
        provider=ProviderId(command.provider),
        management_type=ManagementType.TRUST_AUTHORITY,
        servers=(),
        make_default=command.default,
    )
    state = await session.ask(_workload(session), message, within_s=TASK_S)
    return provider_view(state.provider)


async def _check_made(session: LabSession, provider: str) -> None:
    """KS-USE-002 for a provider that the Trust Authority does not have. The two vCenters do not ask
    each other: nothing is checked while the Trust Authority's does not answer, or answers this
    user nothing."""
    try:
        state = await session.ask(
            _plan(session).vcenter, trust_messages.QueryTrustAuthority(), within_s=TASK_S
        )
    except ProductError:
        return
    made = [item.name for item in state.items if item.kind == TrustItem.PROVIDER]
    if provider not in made:
        there = ", ".join(made) or "none"
        text = (
            f"the Trust Authority has no key provider {quote_if_needed(provider)}; it has {there}"
        )
        raise KeysteadError("KS-USE-002", text)


@executes
async def setup(session: LabSession, command: commands.TrustSetup) -> TrustedHostList:
    """See ``TrustSetup``."""
    topology = session.lab.topology
    await set_up(session.lab, _plan(session), topology.providers, session.report)
    return await _ask_workload(session, trust_messages.QueryTrustedClusters())


# ---- afterwards --------------------------------------------------------------------------


@executes
async def remove(session: LabSession, command: commands.TrustRemove) -> TrustAuthority:
    """See ``TrustRemove``."""
    message = trust_messages.RemoveFromTrustAuthority(kind=command.kind, name=command.item)
    return await _ask_authority(session, message)


@executes
async def remediate(session: LabSession, command: commands.TrustRemediate) -> TrustedHostList:
    """See ``TrustRemediate``."""
    message = trust_messages.RemediateTrustedCluster(
        cluster=ClusterName(command.cluster), delete=command.delete
    )
    return await _ask_workload(session, message)


@executes
async def renew(session: LabSession, command: commands.TrustRenewCertificate) -> TrustedHostList:
    """See ``TrustRenewCertificate``."""
    message = trust_messages.RenewStsCertificate()
    await session.ask(_workload(session), message, within_s=TASK_S)
    return await _ask_workload(session, trust_messages.QueryTrustedClusters())


@executes
async def renew_services(
    session: LabSession, command: commands.TrustRenewServices
) -> TrustAuthority:
    """See ``TrustRenewServices``."""
    await administration.renew_services(session.lab, session.nodes(command.services))
    return await _ask_authority(session, trust_messages.QueryTrustAuthority())


@executes
async def authority(session: LabSession, command: commands.GetTrustAuthority) -> TrustAuthority:
    """See ``GetTrustAuthority``."""
    return await _ask_authority(session, trust_messages.QueryTrustAuthority())


@executes
async def list_trusted_hosts(
    session: LabSession, command: commands.GetTrustedHosts
) -> TrustedHostList:
    """See ``GetTrustedHosts``."""
    return await _ask_workload(session, trust_messages.QueryTrustedClusters())


@executes
async def key_create(session: LabSession, command: commands.KmsKeyCreate) -> Key:
    """See ``KmsKeyCreate``."""
    server = session.key_server(command.kms)
    made = await operators_key(session.lab, server, session.lab.operation_id())
    return await show(session, commands.KmsKeyShow(made, server))
