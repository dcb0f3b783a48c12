"""Encryption in vCenter: modes of hosts and clusters, and the keys it knows."""

from __future__ import annotations

from msgspec import UNSET
from msgspec.structs import replace

from chaos.observe.look import all_clusters, all_hosts, all_known_keys
from lab.schema import commands
from lab.schema.answers import (
    Cluster,
    ClusterList,
    Host,
    KnownKey,
    KnownKeyList,
)
from lab.schema.errors import KeysteadError
from lab.serve.machines import fetch_node
from lab.serve.session import LabSession, executes
from lab.serve.views import cluster_view, host_view, key_ref
from protocol.messages.base import Request
from protocol.messages.host.session import Done
from protocol.messages.vcenter.inventory import (
    ConfigureCryptoKey,
    CryptoModePolicy,
    DisableCrypto,
    PrepareCrypto,
    ReconfigureComputeResource,
    SetCryptoMode,
)
from protocol.messages.vcenter.providers import AddKey, GenerateKey, RemoveKey, SetDefaultKmsCluster
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    DrsBehavior,
    KeyId,
    KeyType,
    NodeName,
    ProviderId,
)

TASK_S = 60.0  # lab seconds for a task that may have to wait for a key server

# ---- hosts and clusters ------------------------------------------------------------------


@executes
async def prepare(session: LabSession, command: commands.HostPrepareCrypto) -> Host:
    """See ``HostPrepareCrypto``."""
    host = session.host(command.host)
    return await _after(session, host, PrepareCrypto(host=host))


@executes
async def enable(session: LabSession, command: commands.HostEnableCrypto) -> Host:
    """See ``HostEnableCrypto``."""
    host = session.host(command.host)
    key = key_id(command.key) if command.key else None
    return await _after(session, host, ConfigureCryptoKey(host=host, key=key))


@executes
async def disable(session: LabSession, command: commands.HostDisableCrypto) -> Host:
    """See ``HostDisableCrypto``."""
    host = session.host(command.host)
    return await _after(session, host, DisableCrypto(host=host))


async def _after(session: LabSession, host: NodeName, task: Request[Done]) -> Host:
    """The host as vCenter sees it after the task."""
    vcenter = session.vcenter_of(host)
    await session.ask(vcenter, task, within_s=TASK_S)
    listed = next(h for h in await all_hosts(session, vcenter) if h.host == host)
    return host_view(listed, await fetch_node(session, host))


@executes
async def clusters(session: LabSession, command: commands.GetClusters) -> ClusterList:
    """See ``GetClusters``."""
    found = [
        replace(cluster_view(cluster), vcenter=session.vcenter_to_show(vcenter))
        for vcenter in session.vcenters()
        for cluster in await all_clusters(session, vcenter)
    ]
    return ClusterList(items=tuple(sorted(found, key=lambda cluster: cluster.cluster)))


@executes
async def crypto_mode(session: LabSession, command: commands.ClusterCryptoMode) -> Cluster:
    """See ``ClusterCryptoMode``."""
    session = session.at_cluster(command.cluster)
    name = await _cluster(session, command.cluster)
    policy = CryptoModePolicy(
        key=key_id(command.key) if command.key else None,
        provider=ProviderId(command.provider) if command.provider else None,
    )
    message = SetCryptoMode(
        cluster=name,
        crypto_mode=command.mode,
        policy=policy if command.key or command.provider else None,
    )
    await session.ask(session.vcenter, message)
    return await _cluster_now(session, name)


@executes
async def set_ha(session: LabSession, command: commands.ClusterSetHa) -> Cluster:
    """See ``ClusterSetHa``."""
    session = session.at_cluster(command.cluster)
    name = await _cluster(session, command.cluster)
    message = ReconfigureComputeResource(cluster=name, das_enabled=command.ha == "on")
    await session.ask(session.vcenter, message, within_s=TASK_S)
    return await _cluster_now(session, name)


@executes
async def set_drs(session: LabSession, command: commands.ClusterSetDrs) -> Cluster:
    """See ``ClusterSetDrs``."""
    session = session.at_cluster(command.cluster)
    name = await _cluster(session, command.cluster)
    drs = None if command.drs == "off" else DrsBehavior(command.drs)
    await session.ask(session.vcenter, ReconfigureComputeResource(cluster=name, drs=drs))
    return await _cluster_now(session, name)


@executes
async def default_provider(
    session: LabSession, command: commands.ClusterDefaultProvider
) -> Cluster:
    """See ``ClusterDefaultProvider``."""
    session = session.at_cluster(command.cluster)
    name = await _cluster(session, command.cluster)
    provider = ProviderId(command.provider) if command.provider else None
    message = SetDefaultKmsCluster(entity=name, provider=provider)
    await session.ask(session.vcenter, message)
    return await _cluster_now(session, name)


async def _cluster(session: LabSession, name: str) -> ClusterName:
    """KS-USE-002 when vCenter has no cluster of that name."""
    known = [c.cluster for c in await all_clusters(session, session.vcenter)]
    if name not in known:
        there = ", ".join(known) or "none"
        raise KeysteadError("KS-USE-002", f"there is no cluster {name}; there are: {there}")
    return ClusterName(name)


async def _cluster_now(session: LabSession, name: ClusterName) -> Cluster:
    listed = await all_clusters(session, session.vcenter)
    return cluster_view(next(c for c in listed if c.cluster == name))


# ---- keys --------------------------------------------------------------------------------


def key_id(text: str) -> CryptoKeyId:
    """A key written ``provider/id``."""
    provider, _, key = text.partition("/")
    return CryptoKeyId(KeyId(key), ProviderId(provider))


@executes
async def list_known_keys(session: LabSession, command: commands.KeyIds) -> KnownKeyList:
    """See ``KeyIds``."""
    keys = await all_known_keys(session, session.vcenter)
    return KnownKeyList(items=tuple(KnownKey(key=key_ref(key), known=True) for key in keys))


@executes
async def generate(session: LabSession, command: commands.KeyGenerate) -> KnownKey:
    """See ``KeyGenerate``; KS-PRODUCT-001 with the provider's reason when it makes none."""
    lab = session.lab
    provider = ProviderId(command.provider) if command.provider else None
    message = GenerateKey(
        operation_id=lab.operation_id(),
        provider=provider,
        key_type=KeyType(command.key_type) if command.key_type else UNSET,
    )
    made = await session.ask(session.vcenter, message, within_s=TASK_S)
    if made.key is None:
        raise KeysteadError("KS-PRODUCT-001", made.reason)
    return KnownKey(key=key_ref(made.key), known=True)


@executes
async def add_key(session: LabSession, command: commands.KeyAdd) -> KnownKey:
    """See ``KeyAdd``."""
    key = key_id(command.key)
    await session.ask(session.vcenter, AddKey(key=key), within_s=TASK_S)
    return KnownKey(key=key_ref(key), known=True)


@executes
async def remove_key(session: LabSession, command: commands.KeyRemove) -> KnownKey:
    """See ``KeyRemove``."""
    key = key_id(command.key)
    message = RemoveKey(key=key, force=command.force)
    removed = await session.ask(session.vcenter, message, within_s=TASK_S)
    return KnownKey(key=key_ref(key), known=False, not_confirmed_by=removed.hosts)
