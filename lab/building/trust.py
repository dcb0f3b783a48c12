"""A Trust Authority made ready: the thirteen steps of an administrator, in their order.

1 TrustedAdmins at both vCenters   2 Trust Authority state   3 to 5 exports of principal,
endorsement keys or CA certificates, base images   6 to 8 their imports   9 the trusted provider
10 its key servers reviewed and trusted   11 services information   12 its import, Trusted state of
clusters   13 the provider at the workload vCenter

Each can be repeated: what is there already stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from lab.building.course import Report
from lab.building.kmip_trust import trust_nodes
from lab.core import LabCore
from lab.topology.plan import ProviderPlan, TrustPlan
from protocol.authorization import ADMINISTRATOR
from protocol.errors import AlreadyExists
from protocol.messages.base import Request
from protocol.messages.host import ExportBaseImage, ExportTpmEndorsement
from protocol.messages.kms import CreateKey
from protocol.messages.vcenter import (
    CreateTrustedKeyProvider,
    EnableTrustAuthority,
    ExportPrincipal,
    ExportServicesInformation,
    ImportServicesInformation,
    ImportToTrustAuthority,
    RegisterKmsCluster,
    SetDefaultKmsCluster,
    SetTpmSettings,
    SetTrustedAdmin,
    SetTrustedState,
    TrustKeyServers,
)
from protocol.terms import ClusterName, KeyId, ManagementType, NodeName
from protocol.trust import (
    BaseImage,
    TpmCaCertificate,
    TpmSettings,
    TrustedEndorsementKey,
)

TASK_S = 60.0  # lab seconds for a step that asks every service
STEPS = 13


async def set_up(
    lab: LabCore, trust: TrustPlan, providers: Iterable[ProviderPlan], report: Report
) -> None:
    """All of them. Raises what a step is refused with, but for what is there already. A cluster
    that has no host yet is told of its trust with the first one (``trusted_arrivals``)."""
    providers = [plan for plan in providers if plan.type == "trusted"]
    report("members of TrustedAdmins at both vCenters", 1, STEPS)
    for vcenter in (trust.vcenter, trust.workload):
        await lab.ask(vcenter, SetTrustedAdmin(member=ADMINISTRATOR))
    report(f"Trust Authority state of {trust.cluster}", 2, STEPS)
    await once(lab, trust.vcenter, enabling(trust))
    report("principal, endorsement keys and base images exported, and imported", 3, STEPS)
    hosts = [host for host in lab.hosts() if lab.spec(host).cluster in trust.clusters]
    principal = (await lab.ask(trust.workload, ExportPrincipal())).principal
    await once(lab, trust.vcenter, ImportToTrustAuthority(principal=principal))
    await _settings(lab, trust)
    for host in hosts:
        for message in (*await identity_imports(lab, host, trust), await image_import(lab, host)):
            await once(lab, trust.vcenter, message)
    for plan in providers:
        await _provider(lab, trust, plan, report)
    report("services information exported, and imported; Trusted state of clusters", 11, STEPS)
    services = await lab.ask(trust.vcenter, ExportServicesInformation(), within_s=TASK_S)
    importing = ImportServicesInformation(services=services)
    await lab.ask(trust.workload, importing, within_s=TASK_S)
    there = {lab.spec(host).cluster for host in hosts}
    for cluster in (cluster for cluster in trust.clusters if cluster in there):
        await once(lab, trust.workload, SetTrustedState(cluster=cluster))
    for plan in providers:
        report(f"trusted key provider {plan.provider} registered", 13, STEPS)
        await lab.ask(
            plan.vcenter,
            RegisterKmsCluster(
                provider=plan.provider,
                management_type=ManagementType.TRUST_AUTHORITY,
                servers=(),
                make_default=plan.default,
            ),
            within_s=TASK_S,
        )
    for cluster in (cluster for cluster in trust.clusters if cluster in there):
        await default_for(lab, trust, cluster, providers)


async def default_for(
    lab: LabCore, trust: TrustPlan, cluster: ClusterName, providers: Iterable[ProviderPlan]
) -> None:
    """Its hosts have their host keys from a trusted provider, too, where that is not vCenter's
    default: else vCenter would be on the way of those."""
    trusted = [p for p in providers if p.type == "trusted" and p.vcenter == trust.workload]
    if trusted and not any(plan.default for plan in trusted):
        message = SetDefaultKmsCluster(entity=cluster, provider=trusted[0].provider)
        await lab.ask(trust.workload, message, within_s=TASK_S)


async def once(lab: LabCore, node: NodeName, message: Request[Any]) -> None:
    """Ask; what is there already stays."""
    with suppress(AlreadyExists):
        await lab.ask(node, message, within_s=TASK_S)


def enabling(trust: TrustPlan) -> EnableTrustAuthority:
    """The second step."""
    return EnableTrustAuthority(
        cluster=trust.cluster,
        attestation_services=tuple(first for first, _ in trust.services),
        key_provider_services=tuple(second for _, second in trust.services),
    )


async def _settings(lab: LabCore, trust: TrustPlan) -> None:
    settings = TpmSettings(
        require_endorsement_keys=trust.endorsement_keys,
        require_certificate_validation=not trust.endorsement_keys,
    )
    await lab.ask(trust.vcenter, SetTpmSettings(settings=settings), within_s=TASK_S)


async def identity_imports(
    lab: LabCore, host: NodeName, trust: TrustPlan
) -> list[ImportToTrustAuthority]:
    """The fourth and the seventh step for one host: its endorsement key, or the CA of its TPM."""
    found = await lab.ask(host, ExportTpmEndorsement())
    if trust.endorsement_keys:
        entry = TrustedEndorsementKey(name=host, public_area=found.public_area)
        return [ImportToTrustAuthority(endorsement_key=entry)]
    if not found.ca_chain:
        return []
    chain = TpmCaCertificate(name=f"{host}-ca", chain=found.ca_chain)
    return [ImportToTrustAuthority(ca_certificate=chain)]


async def image_of(lab: LabCore, host: NodeName) -> BaseImage:
    """The fifth step: the base image of the host's build."""
    return (await lab.ask(host, ExportBaseImage())).image


async def image_import(lab: LabCore, host: NodeName) -> ImportToTrustAuthority:
    """The eighth step."""
    return ImportToTrustAuthority(base_image=await image_of(lab, host))


async def operators_key(lab: LabCore, server: NodeName, operation_id: str) -> KeyId:
    """A key made at a key server by its operator: the primary key of a trusted provider, or a
    wrapping key of a standard one."""
    return (await lab.ask(server, CreateKey(operation_id=operation_id, activate=True))).key_id


async def _provider(lab: LabCore, trust: TrustPlan, plan: ProviderPlan, report: Report) -> None:
    report(f"trusted key provider {plan.provider}, its key servers trusted", 9, STEPS)
    key = await operators_key(lab, plan.servers[0], f"topology/primary/{plan.provider}")
    made = CreateTrustedKeyProvider(
        provider=plan.provider, primary_key_id=key, servers=plan.servers, by_kmip=plan.kmip
    )
    await once(lab, trust.vcenter, made)
    await trust_nodes(lab, [service for _, service in trust.services], plan.kmip)
    await lab.ask(trust.vcenter, TrustKeyServers(provider=plan.provider), within_s=TASK_S)
