"""Nodes, providers and VMs by name, made from a Lab file; ``Topology`` is what a lab is made of,
and its directory is made from it. Also hosts that come with machines which request a place.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import structs

from chaos.lab import Directory, NodeEntry
from lab.state.state_folder import LabRecord, Place
from lab.topology.lab_file import LabFile, backend_at
from lab.topology.machine_plan import (
    MachinePlan,
    PoolPlan,
    SharedArray,
    list_shared_here,
    machine_plan,
    pool_plan,
    with_later,
)
from lab.topology.model import (
    ClusterModel,
    KmsModel,
    ProviderModel,
    VsanModel,
    array_of,
    pairs_of_services,
    trust_services,
)
from lab.topology.references import Group, default_provider, groups
from lab.topology.service_times import machine_of, service_of
from protocol import scopes
from protocol.messages.agent import Firmware, NodeSpec, SharedMachine, TpmBackend
from protocol.messages.vcenter.providers import KeySpec
from protocol.terms import (
    ClusterName,
    DrsBehavior,
    KeyId,
    KeyType,
    NodeName,
    ProviderId,
    Role,
    RootKind,
    VmName,
)


class VmPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A VM that the lab starts with."""

    vm: VmName
    cluster: ClusterName
    host: NodeName
    provider: ProviderId | None  # None = not encrypted
    power_on: bool
    vtpm: ProviderId | None = None  # None = without a virtual TPM


class ProviderPlan(msgspec.Struct, frozen=True, kw_only=True):
    provider: ProviderId
    vcenter: NodeName
    type: str
    servers: tuple[NodeName, ...]
    default: bool
    tpm_required: bool = False
    kmip: tuple[NodeName, ...] = ()
    """Those of its servers that vCenter asks by KMIP."""
    keys: KeySpec | msgspec.UnsetType = msgspec.UNSET
    """What its new keys are (KEY-07); its wrapping key is the name of one that the lab makes."""


class TrustPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A Trust Authority: ``services`` are its hosts, each an Attestation Service and a Key Provider
    Service. ``workload`` is the vCenter of the trusted ``clusters``."""

    vcenter: NodeName
    cluster: ClusterName
    services: tuple[tuple[NodeName, NodeName], ...]
    workload: NodeName
    clusters: tuple[ClusterName, ...]
    endorsement_keys: bool
    setup: bool


class VsanPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The vSAN of a cluster; ``provider`` None: it is not encrypted."""

    cluster: ClusterName
    vcenter: NodeName
    provider: ProviderId | None
    objects: tuple[str, ...]
    erase_disks_before_use: bool = False


class BusPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What carries the lab's messages: so many ``servers`` of its own, or those at ``urls``, which
    somebody else runs, in an ``account`` there; ``authority`` is a file, or empty."""

    servers: int = 1
    urls: tuple[str, ...] = ()
    authority: str = ""
    account: str = ""


class Topology(msgspec.Struct, frozen=True, kw_only=True):
    """Everything by name. ``groups`` are the processes of the lab: nodes that share one."""

    name: str
    pace: float
    vcenters: tuple[NodeName, ...]
    nodes: tuple[NodeSpec, ...]
    groups: tuple[tuple[NodeName, ...], ...]
    providers: tuple[ProviderPlan, ...]
    vms: tuple[VmPlan, ...]
    key_persistence: tuple[NodeName, ...]
    trust: TrustPlan | None = None
    ha: tuple[tuple[NodeName, ClusterName], ...] = ()  # with the vCenter of each
    drs: tuple[tuple[NodeName, ClusterName, DrsBehavior], ...] = ()  # the same
    vsan: tuple[VsanPlan, ...] = ()
    passphrases: tuple[tuple[NodeName, str], ...] = ()  # key servers and the files of theirs
    machines: tuple[MachinePlan, ...] = ()
    bus: BusPlan = BusPlan()
    pools: tuple[PoolPlan, ...] = ()
    shared: tuple[SharedArray, ...] = ()  # of clusters that stand where ``up`` runs
    gates: bool = False  # nodes on one machine are asked over connections by those of others
    machine: SharedMachine | None = None  # of all processes, in the simulation

    @property
    def vcenter(self) -> NodeName:
        """The vCenter that commands go to that name none: the first of the file."""
        return self.vcenters[0]

    def spec(self, node: NodeName) -> NodeSpec:
        return next(s for s in self.nodes if s.node == node)


def plan(file: LabFile) -> Topology:
    """Name every node, VM and process."""
    specs = [*_key_servers(file), *_vcenters(file)]
    groups: list[tuple[NodeName, ...]] = [(spec.node,) for spec in specs]
    specs += trust_services(file)
    groups += pairs_of_services(file)  # a host of the Trust Authority: power loss takes both
    vms: list[VmPlan] = []
    persistent: list[NodeName] = []
    for cluster in file.clusters:
        first = sum(s.role is Role.ESXI for s in specs) + 1
        hosts = [host_spec(file, cluster, first + n) for n in range(cluster.hosts.count)]
        specs.extend(hosts)
        names, pack = [spec.node for spec in hosts], cluster.hosts.pack
        groups.extend(tuple(names[i : i + pack]) for i in range(0, len(names), pack))
        whole = names[: len(names) - cluster.hosts.without_tpm]
        vms.extend(plan_vms(cluster, whole, len(vms)))
        persistent.extend(whole if cluster.hosts.key_persistence else ())
    defaults = {v.name: default_provider(file, v.name) for v in file.vcenters}
    transports = {server.name: server.transport for server in file.kms}
    return Topology(
        name=file.name,
        pace=file.pace,
        vcenters=tuple(NodeName(v.name) for v in file.vcenters),
        nodes=tuple(_with_service_times(file, spec) for spec in specs),
        groups=tuple(groups),
        providers=tuple(
            ProviderPlan(
                provider=ProviderId(p.name),
                vcenter=NodeName(p.vcenter),
                type=p.type,
                servers=tuple(NodeName(s) for s in p.servers),
                default=p.name == defaults[p.vcenter],
                tpm_required=p.tpm_required,
                kmip=tuple(NodeName(s) for s in p.servers if transports[s] == "kmip"),
                keys=_keys(p),
            )
            for p in file.providers
        ),
        vms=tuple(vms),
        key_persistence=tuple(persistent),
        trust=_trust(file),
        ha=tuple((NodeName(c.vcenter), ClusterName(c.name)) for c in file.clusters if c.ha),
        drs=tuple(
            (NodeName(c.vcenter), ClusterName(c.name), c.drs) for c in file.clusters if c.drs
        ),
        vsan=tuple(_vsan(c, c.vsan) for c in file.clusters if c.vsan is not None),
        passphrases=tuple(
            (NodeName(s.name), s.passphrase_file) for s in file.kms if s.passphrase_file
        ),
        machines=tuple(machine_plan(m, file, specs, groups) for m in file.machines if not m.pool),
        pools=tuple(pool_plan(m, file) for m in file.machines if m.pool),
        bus=_bus(file),
        shared=list_shared_here(file),
        gates=bool(file.machines) and "kmip" in transports.values(),
        machine=machine_of(file.service_times),
    )


def _keys(provider: ProviderModel) -> KeySpec | msgspec.UnsetType:
    if provider.default_key_type is None:
        return msgspec.UNSET
    return KeySpec(
        key_type=KeyType(provider.default_key_type),
        wrapping_key=KeyId(provider.wrapping_key or ""),
        rotation_days=provider.rotation_interval,
    )


def _bus(file: LabFile) -> BusPlan:
    model = file.bus
    if not model.url:
        return BusPlan(servers=model.servers)
    return BusPlan(
        servers=0,
        urls=tuple(model.url.split(",")),
        authority=model.authority,
        account=model.account or f"KEYSTEAD-{file.name}",
    )


def _trust(file: LabFile) -> TrustPlan | None:
    authority = file.trust_authority
    if authority is None:
        return None
    clusters = [cluster for cluster in file.clusters if cluster.name in authority.clusters]
    workload = clusters[0].vcenter if clusters else file.vcenters[0].name
    return TrustPlan(
        vcenter=NodeName(authority.vcenter),
        cluster=ClusterName(authority.cluster),
        services=tuple(pairs_of_services(file)),
        workload=NodeName(workload),
        clusters=tuple(ClusterName(cluster.name) for cluster in clusters),
        endorsement_keys=authority.settings == "endorsement-keys",
        setup=authority.setup,
    )


def _key_servers(file: LabFile) -> list[NodeSpec]:
    """Each trusts every vCenter of the lab: whether one uses it is said at that vCenter.

    A server with ``transport: kmip`` accepts clients by KMIP only, with certificates registered at
    its console (STD-03): a client that is revoked there must have no other way in.
    """
    group_of = {server: group for group in groups(file) for server in group.servers}

    def identities(server: KmsModel) -> dict[str, dict[str, str]]:
        group = group_of[server.name].servers if server.name in group_of else ()
        peer = {other: {"role": "peer"} for other in group if other != server.name}
        if server.transport == "kmip":
            return peer
        clients = {
            v.name: {"role": "client", "scope": scopes.of_vcenter(NodeName(v.name))}
            for v in file.vcenters
        }
        kps: dict[str, dict[str, str]] = {
            str(service): {"role": "kps"} for _, service in pairs_of_services(file)
        }
        return {**clients, **kps, **peer, **_vsan_hosts(file)}

    def root(server: KmsModel) -> dict[str, str]:
        return {} if server.root is RootKind.KEYFILE else {"root": server.root.value}

    return [
        NodeSpec(
            node=NodeName(server.name),
            role=Role.KMS,
            site=server.site,
            tpm=server.tpm,
            knobs=file.knobs,
            config={
                "identities": identities(server),
                **_replication(group_of.get(server.name)),
                **root(server),
                **({"ids": server.ids} if server.ids != "random" else {}),
                **({"transport": server.transport} if server.transport != "bus" else {}),
                **({"audit": server.audit} if server.audit != "durable" else {}),
            },
        )
        for server in file.kms
    ]


def _replication(group: Group | None) -> dict[str, str]:
    """The mode, where it is not that of a pair; the first server of mode ``forward`` is active."""
    if group is None or group.mode == "sync-pair":
        return {}
    active = {"active": group.servers[0]} if group.mode == "forward" else {}
    return {"replication": group.mode, **active}


def _vcenters(file: LabFile) -> list[NodeSpec]:
    return [
        NodeSpec(
            node=NodeName(vcenter.name),
            role=Role.VCENTER,
            site=vcenter.site,
            knobs=file.knobs,
            config={"version": vcenter.version, **_other_vcenters(file, vcenter.name)},
        )
        for vcenter in file.vcenters
    ]


def _other_vcenters(file: LabFile, name: str) -> dict[str, list[str]]:
    """Those that may hand VMs over to it (MOB-07); nothing in a lab with one."""
    others = [vcenter.name for vcenter in file.vcenters if vcenter.name != name]
    return {"vcenters": others} if others else {}


def _vsan_hosts(file: LabFile) -> dict[str, dict[str, str]]:
    """Hosts of clusters with vSAN: they ask key servers themselves, in a role and a scope of their
    own."""
    found: dict[str, dict[str, str]] = {}
    first = 1
    for cluster in file.clusters:
        numbers = range(first, first + cluster.hosts.count)
        first += cluster.hosts.count
        if cluster.vsan is not None:
            scope = scopes.of_vsan(NodeName(cluster.vcenter), ClusterName(cluster.name))
            grant = {"role": "vsan", "scope": scope}
            found.update({host_name(number): grant for number in numbers})
    return found


def _vsan(cluster: ClusterModel, vsan: VsanModel) -> VsanPlan:
    encrypted, provider = vsan.encrypted, vsan.provider
    return VsanPlan(
        cluster=ClusterName(cluster.name),
        vcenter=NodeName(cluster.vcenter),
        provider=ProviderId(provider) if encrypted and provider is not None else None,
        objects=tuple(f"object-{n}" for n in range(1, vsan.objects + 1)),
        erase_disks_before_use=vsan.erase_disks_before_use,
    )


def host_name(number: int) -> NodeName:
    """The name of the host of that number in the lab."""
    return NodeName(f"esxi-{number:03d}")


def _with_service_times(file: LabFile, spec: NodeSpec) -> NodeSpec:
    service = service_of(file.service_times, spec.node, spec.role)
    return spec if service is None else structs.replace(spec, service=service)


def host_spec(file: LabFile, cluster: ClusterModel, number: int) -> NodeSpec:
    """The host ``esxi-NNN`` of a cluster; also for hosts that are added later."""
    vsan = cluster.vsan
    before = [one.hosts.count for one in file.clusters[: file.clusters.index(cluster)]]
    place = number - sum(before) - 1
    return NodeSpec(
        node=host_name(number),
        role=Role.ESXI,
        site=cluster.site,
        cluster=ClusterName(cluster.name),
        tpm=backend_at(cluster.hosts, place),
        vtpm=_vtpm(file, cluster),
        firmware=Firmware(secure_boot=cluster.hosts.secure_boot),
        knobs=file.knobs,
        config={
            "version": cluster.hosts.version_of(place),
            "vcenter": cluster.vcenter,
            "datastore": array_of(cluster),
            **({} if cluster.hosts.aesni else {"aesni": False}),
            **({} if vsan is None else {"vsan": {"groups": vsan.groups, "disks": vsan.disks}}),
        },
        service=service_of(file.service_times, host_name(number), Role.ESXI),
    )


def _vtpm(file: LabFile, cluster: ClusterModel) -> TpmBackend:
    """What plays the vTPMs of a cluster's VMs: what plays its hosts' TPMs, or, of hosts that have
    none (VTPM-01), those of other hosts; ``model`` in a lab in which no host has a TPM."""
    if cluster.hosts.tpm is not TpmBackend.NONE:
        return cluster.hosts.tpm
    others = [other.hosts.tpm for other in file.clusters]
    return TpmBackend.LIBTPMS if TpmBackend.LIBTPMS in others else TpmBackend.MODEL


def plan_vms(cluster: ClusterModel, hosts: list[NodeName], before: int) -> list[VmPlan]:
    """The VMs of these hosts of a cluster; ``before``: how many others the lab has."""
    named = None if cluster.vms.provider is None else ProviderId(cluster.vms.provider)
    return [
        VmPlan(
            vm=VmName(f"vm-{before + n + 1:02d}"),
            cluster=ClusterName(cluster.name),
            host=hosts[n % len(hosts)],
            provider=named if cluster.vms.encrypted else None,
            power_on=cluster.vms.power == "on",
            vtpm=named if cluster.vms.vtpm else None,
        )
        for n in range(cluster.vms.count if hosts else 0)
    ]


def directory_of(topology: Topology, specs: Iterable[NodeSpec] | None = None) -> Directory:
    """Who is there in a lab of this topology (and later ``specs``), for plans and selectors."""
    apart = {node for machine in topology.machines for node in machine.nodes}
    if topology.gates:
        apart = set()
    return Directory(
        nodes=tuple(
            NodeEntry(
                node=s.node,
                role=s.role,
                site=s.site,
                cluster=s.cluster,
                providers=tuple(p.provider for p in topology.providers if s.node in p.servers),
                replication=str(s.config.get("replication", "")),
                by_kmip=s.config.get("transport") == "kmip",
                tpm=s.tpm is not TpmBackend.NONE,
                vsan=any(s.cluster == one.cluster and one.provider for one in topology.vsan),
                drs=next((level for _, name, level in topology.drs if s.cluster == name), ""),
                ha=any(s.cluster == cluster for _, cluster in topology.ha),
                connects=(s.role is not Role.ESXI or "vsan" in s.config) and s.node not in apart,
                vcenter=NodeName(str(s.config["vcenter"])) if s.role is Role.ESXI else None,
            )
            for s in (topology.nodes if specs is None else specs)
        ),
        vms=tuple(v.vm for v in topology.vms),
        default_provider=next(
            (p.provider for p in topology.providers if p.default and p.vcenter == topology.vcenter),
            None,
        ),
        bus_servers=topology.bus.servers,
        knobs=topology.nodes[0].knobs if topology.nodes else {},
    )


def next_place(file: LabFile, given: Sequence[Place], pool: str, machine: str) -> Place:
    """The place of a machine that has none; ``given`` are those of all pools."""
    before = sum(cluster.hosts.count for cluster in file.clusters)
    return Place(machine=machine, pool=pool, node=host_name(before + len(given) + 1))


def spec_of(file: LabFile, place: Place) -> NodeSpec:
    """The host of a place."""
    model = next(machine for machine in file.machines if machine.name == place.pool)
    cluster = next(cluster for cluster in file.clusters if cluster.name == model.clusters[0])
    return host_spec(file, cluster, int(place.node.rpartition("-")[2]))


def vms_of(file: LabFile, given: Sequence[Place], place: Place) -> list[VmPlan]:
    """The VMs that the host of a place begins with."""
    each = {
        machine.name: next(c for c in file.clusters if c.name == machine.clusters[0])
        for machine in file.machines
        if machine.pool
    }
    before = sum(cluster.vms.count for cluster in file.clusters if cluster.hosts.count)
    before += sum(each[one.pool].vms.count for one in given[: given.index(place)])
    return plan_vms(each[place.pool], [place.node], before)


def machine_of_host(topology: Topology, place: Place, process: int) -> MachinePlan:
    """The machine of a place; ``process`` is the number of its one process."""
    pool = next(pool for pool in topology.pools if pool.pool == place.pool)
    return MachinePlan(
        machine=place.machine,
        lease_s=pool.lease_s,
        nodes=(place.node,),
        processes=(process,),
        arrays=(),
        shared=pool.shared,
        pool=place.pool,
    )


def as_recorded(file: LabFile, record: LabRecord) -> Topology:
    """The topology of a lab that goes on: with hosts that came with their machines, or that a
    command added, each in the process that it had."""
    topology = with_places(plan(file), file, record.places or ())
    added = [msgspec.convert(raw, NodeSpec) for raw in record.hosts_added]
    first, machines = len(topology.groups) + 1, list(topology.machines)
    for number, spec in enumerate(added, first):
        for at, machine in enumerate(machines):
            if spec.cluster in machine.clusters:
                machines[at] = with_later(machine, number, spec.node)
    return msgspec.structs.replace(
        topology,
        nodes=(*topology.nodes, *added),
        groups=(*topology.groups, *((spec.node,) for spec in added)),
        machines=tuple(machines),
    )


def with_places(topology: Topology, file: LabFile, places: Sequence[Place]) -> Topology:
    """The topology with all that was given: that of a lab which goes on."""
    first = len(topology.groups) + 1
    persistent = {c.name for c in file.clusters if c.hosts.key_persistence}
    specs = [spec_of(file, place) for place in places]
    return msgspec.structs.replace(
        topology,
        nodes=(*topology.nodes, *specs),
        groups=(*topology.groups, *((place.node,) for place in places)),
        key_persistence=(
            *topology.key_persistence,
            *(spec.node for spec in specs if spec.role is Role.ESXI and spec.cluster in persistent),
        ),
        machines=(
            *topology.machines,
            *(machine_of_host(topology, place, first + at) for at, place in enumerate(places)),
        ),
    )
