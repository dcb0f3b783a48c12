"""Trust made ready: KMIP servers and their clients come to trust each other (STD-03, STD-04,
STD-06), a Trust Authority by the thirteen steps of an administrator in their order, and hosts of
trusted clusters that come later.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from chaos import administration
from lab.building.course import Report
from lab.core import LabCore
from lab.schema.errors import KeysteadError
from lab.topology.plan import ProviderPlan, TrustPlan
from protocol import scopes
from protocol.authorization import ADMINISTRATOR
from protocol.crypto.certificates import key_digest
from protocol.errors import AlreadyExists, NotConnected, ProductError
from protocol.messages.base import Request
from protocol.messages.host.crypto import ExportBaseImage, ExportTpmEndorsement
from protocol.messages.host.vsan import GenerateVsanClientCert
from protocol.messages.keyprovider import GenerateServiceClientCert
from protocol.messages.kms.administration import QueryIdentities, TrustIdentity
from protocol.messages.kms.keys import CreateKey
from protocol.messages.vcenter import trust as trust_messages
from protocol.messages.vcenter.providers import RegisterKmsCluster, SetDefaultKmsCluster
from protocol.terms import (
    ClusterName,
    KeyId,
    ManagementType,
    NodeName,
    ProviderHealth,
    ProviderId,
    Role,
)
from protocol.trust import (
    BaseImage,
    TpmCaCertificate,
    TpmSettings,
    TrustedEndorsementKey,
)
from services.runtime.each import try_each


def list_kmip_servers(lab: LabCore, nodes: Iterable[NodeName]) -> tuple[NodeName, ...]:
    """Those of these key servers that the lab's file has asked so."""
    return tuple(node for node in nodes if lab.spec(node).config.get("transport") == "kmip")


async def trust_each_other(
    lab: LabCore, vcenter: NodeName, provider: ProviderId, servers: Iterable[NodeName],
    names: Mapping[NodeName, str] | None = None,
) -> None:  # fmt: skip
    """Each server is told at its console to take vCenter's certificate, and that of each of its
    hosts with vSAN, which ask by themselves; vCenter is told to take what each of them shows.
    Repeating it changes nothing."""
    servers = tuple(servers)
    await administration.trust_each_other(lab, vcenter, provider, servers, names=names)
    await trust_nodes(lab, vsan_hosts(lab, vcenter), servers)


def vsan_hosts(lab: LabCore, vcenter: NodeName) -> tuple[NodeName, ...]:
    """The hosts of that vCenter whose clusters have a vSAN."""
    return tuple(
        host
        for host in lab.hosts()
        if "vsan" in lab.spec(host).config and lab.vcenter_of(host) == vcenter
    )


class NodeCertificate(NamedTuple):
    """What a node shows key servers, and the role and scope there that it is for; no scope: that of
    all who say nothing of it."""

    certificate: bytes
    role: str
    scope: str = ""


async def fetch_certificate(
    lab: LabCore, node: NodeName, *, renew: bool = False
) -> NodeCertificate:
    """Of a node that asks by itself; it makes a certificate when it has none, or if ``renew``.

    KS-USE-002 for a node of another kind.
    """
    match lab.spec(node).role:
        case Role.ESXI:
            host = await lab.ask(node, GenerateVsanClientCert(renew=renew))
            cluster = ClusterName(lab.spec(node).cluster)
            scope = scopes.of_vsan(lab.vcenter_of(node), cluster)
            return NodeCertificate(host.certificate, "vsan", scope)
        case Role.KEYPROVIDER:
            service = await lab.ask(node, GenerateServiceClientCert(renew=renew))
            return NodeCertificate(service.certificate, "kps")
    text = f"{node} asks no key server by itself: a host of vSAN or a Key Provider Service does"
    raise KeysteadError("KS-USE-002", text)


async def trust_nodes(lab: LabCore, nodes: Iterable[NodeName], servers: Iterable[NodeName]) -> None:
    """Each server is told to take the certificate of each of these nodes, in its role.

    One that it knows is left as it is: it may have been revoked, or have another scope. A node that
    is down is left out: ``kms trust --node`` makes up for it.
    """
    servers, nodes = tuple(servers), tuple(nodes)
    known = {server: await _fetch_known_clients(lab, server) for server in servers if nodes}
    for node in nodes if servers else ():
        try:
            certificate, role, scope = await fetch_certificate(lab, node)
        except NotConnected:
            continue
        for server in servers:
            if key_digest(certificate).hex() not in known[server]:
                message = TrustIdentity(certificate=certificate, role=role, scope=scope)
                await lab.ask(server, message)


async def _fetch_known_clients(lab: LabCore, server: NodeName) -> frozenset[str]:
    """Digests of the clients that the server knows, refused ones too."""
    found = await lab.ask(server, QueryIdentities())
    return frozenset(one.digest for one in found.clients)


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
        await lab.ask(vcenter, trust_messages.SetTrustedAdmin(member=ADMINISTRATOR))
    report(f"Trust Authority state of {trust.cluster}", 2, STEPS)
    await once(lab, trust.vcenter, enabling(trust))
    report("principal, endorsement keys and base images exported, and imported", 3, STEPS)
    hosts = [host for host in lab.hosts() if lab.spec(host).cluster in trust.clusters]
    principal = (await lab.ask(trust.workload, trust_messages.ExportPrincipal())).principal
    await once(lab, trust.vcenter, trust_messages.ImportToTrustAuthority(principal=principal))
    await _settings(lab, trust)
    for host in hosts:
        for message in (*await identity_imports(lab, host, trust), await image_import(lab, host)):
            await once(lab, trust.vcenter, message)
    for plan in providers:
        await _provider(lab, trust, plan, report)
    report("services information exported, and imported; Trusted state of clusters", 11, STEPS)
    services = await lab.ask(
        trust.vcenter, trust_messages.ExportServicesInformation(), within_s=TASK_S
    )
    importing = trust_messages.ImportServicesInformation(services=services)
    await lab.ask(trust.workload, importing, within_s=TASK_S)
    there = {lab.spec(host).cluster for host in hosts}
    for cluster in (cluster for cluster in trust.clusters if cluster in there):
        await once(lab, trust.workload, trust_messages.SetTrustedState(cluster=cluster))
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


def enabling(trust: TrustPlan) -> trust_messages.EnableTrustAuthority:
    """The second step."""
    return trust_messages.EnableTrustAuthority(
        cluster=trust.cluster,
        attestation_services=tuple(first for first, _ in trust.services),
        key_provider_services=tuple(second for _, second in trust.services),
    )


async def _settings(lab: LabCore, trust: TrustPlan) -> None:
    settings = TpmSettings(
        require_endorsement_keys=trust.endorsement_keys,
        require_certificate_validation=not trust.endorsement_keys,
    )
    await lab.ask(trust.vcenter, trust_messages.SetTpmSettings(settings=settings), within_s=TASK_S)


async def identity_imports(
    lab: LabCore, host: NodeName, trust: TrustPlan
) -> list[trust_messages.ImportToTrustAuthority]:
    """The fourth and the seventh step for one host: its endorsement key, or the CA of its TPM."""
    found = await lab.ask(host, ExportTpmEndorsement())
    if trust.endorsement_keys:
        entry = TrustedEndorsementKey(name=host, public_area=found.public_area)
        return [trust_messages.ImportToTrustAuthority(endorsement_key=entry)]
    if not found.ca_chain:
        return []
    chain = TpmCaCertificate(name=f"{host}-ca", chain=found.ca_chain)
    return [trust_messages.ImportToTrustAuthority(ca_certificate=chain)]


async def image_of(lab: LabCore, host: NodeName) -> BaseImage:
    """The fifth step: the base image of the host's build."""
    return (await lab.ask(host, ExportBaseImage())).image


async def image_import(lab: LabCore, host: NodeName) -> trust_messages.ImportToTrustAuthority:
    """The eighth step."""
    return trust_messages.ImportToTrustAuthority(base_image=await image_of(lab, host))


async def operators_key(lab: LabCore, server: NodeName, operation_id: str) -> KeyId:
    """A key made at a key server by its operator: the primary key of a trusted provider, or a
    wrapping key of a standard one."""
    return (await lab.ask(server, CreateKey(operation_id=operation_id, activate=True))).key_id


async def _provider(lab: LabCore, trust: TrustPlan, plan: ProviderPlan, report: Report) -> None:
    report(f"trusted key provider {plan.provider}, its key servers trusted", 9, STEPS)
    key = await operators_key(lab, plan.servers[0], f"topology/primary/{plan.provider}")
    made = trust_messages.CreateTrustedKeyProvider(
        provider=plan.provider, primary_key_id=key, servers=plan.servers, by_kmip=plan.kmip
    )
    await once(lab, trust.vcenter, made)
    await trust_nodes(lab, [service for _, service in trust.services], plan.kmip)
    await lab.ask(
        trust.vcenter, trust_messages.TrustKeyServers(provider=plan.provider), within_s=TASK_S
    )


_Failures = dict[NodeName, Exception]


class TrustedArrivals:
    """Of the lab with that Trust Authority."""

    def __init__(self, lab: LabCore, trust: TrustPlan) -> None:
        self._lab, self._trust = lab, trust
        self._turn = asyncio.Lock()
        self._waiting: list[NodeName] = []
        self._failed: _Failures = {}

    async def trust(self, host: NodeName) -> None:
        """Return when that host, which vCenter has, is configured as a trusted one. Raises why it
        is not; repeating it converges."""
        self._waiting.append(host)
        async with self._turn:
            if host in self._waiting:
                together, self._waiting = self._waiting, []
                try:
                    self._failed |= await self._see_to(together)
                except BaseException:  # one of the others sees to them
                    self._waiting = [*(one for one in together if one != host), *self._waiting]
                    raise
            if (error := self._failed.pop(host, None)) is not None:
                raise error

    async def _see_to(self, hosts: list[NodeName]) -> _Failures:
        """Those that are not trusted now, each with its reason."""
        failed, imported = _Failures(), list[trust_messages.ImportToTrustAuthority]()
        for host, found in zip(hosts, await try_each(hosts, self._export_host), strict=True):
            if isinstance(found, Exception):
                failed[host] = found
                continue
            for message in found:
                if message not in imported:  # one base image is that of many hosts
                    await once(self._lab, self._trust.vcenter, message)
                    imported.append(message)
        clusters: dict[ClusterName, list[NodeName]] = {}
        for host in hosts:
            cluster = self._lab.spec(host).cluster
            if host not in failed and cluster is not None:
                clusters.setdefault(cluster, []).append(host)
        for cluster, theirs in clusters.items():
            failed |= await self._configure_hosts(cluster, theirs)
        return failed

    async def _export_host(self, host: NodeName) -> list[trust_messages.ImportToTrustAuthority]:
        """Steps 4 and 5 of one host, for steps 7 and 8."""
        identity = await identity_imports(self._lab, host, self._trust)
        return [*identity, await image_import(self._lab, host)]

    async def _configure_hosts(self, cluster: ClusterName, hosts: list[NodeName]) -> _Failures:
        """Have all hosts of the cluster told, which is step 12; what another host refuses is no
        matter of these."""
        vcenter, why = self._trust.workload, ""
        try:
            if (
                cluster
                in (await self._lab.ask(vcenter, trust_messages.QueryTrustedClusters())).clusters
            ):
                again = trust_messages.RemediateTrustedCluster(cluster=cluster)
                await self._lab.ask(vcenter, again, within_s=TASK_S)
            else:
                providers = self._lab.topology.providers
                await default_for(self._lab, self._trust, cluster, providers)
                await self._lab.ask(
                    vcenter, trust_messages.SetTrustedState(cluster=cluster), within_s=TASK_S
                )
        except ProductError as error:
            why = str(error)
        state = await self._lab.ask(vcenter, trust_messages.QueryTrustedClusters())
        told = {one.host: one for one in state.hosts}
        return {host: _untold(host, told, why) for host in hosts if not _is_well(host, told)}


def _is_well(host: NodeName, told: Mapping[NodeName, trust_messages.TrustedHost]) -> bool:
    return host in told and told[host].health is ProviderHealth.OK


def _untold(
    host: NodeName, told: Mapping[NodeName, trust_messages.TrustedHost], why: str
) -> KeysteadError:
    details = "; ".join(told[host].details) if host in told else "vCenter does not reach it"
    return KeysteadError("KS-LAB-003", f"{host} is not trusted yet: {why or details}")
