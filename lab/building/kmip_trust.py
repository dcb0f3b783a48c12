"""Who asks KMIP servers, and these servers, come to trust each other (STD-03, STD-04, STD-06)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from chaos import kmip_trust
from lab.core import LabCore
from lab.schema.errors import KeysteadError
from protocol import scopes
from protocol.crypto.certificates import key_digest
from protocol.errors import NotConnected
from protocol.messages.host.vsan import GenerateVsanClientCert
from protocol.messages.keyprovider import GenerateServiceClientCert
from protocol.messages.kms import QueryIdentities, TrustIdentity
from protocol.terms import ClusterName, NodeName, ProviderId, Role


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
    await kmip_trust.trust_each_other(lab, vcenter, provider, servers, names=names)
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
