"""What in a Lab file does not fit together: names used twice or pointing to nothing, limits, the
bus, machines, versions, and the section ``trust_authority`` (TA-01 to TA-03).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lab.topology.model import (
    ClusterModel,
    HostsModel,
    KmsModel,
    LabFields,
    MachineModel,
    ProviderModel,
    TrustAuthorityModel,
    array_of,
    pairs_of_services,
)
from lab.topology.service_times import SHARED_PROCESSES, times_misfits
from protocol.messages.agent import TpmBackend
from protocol.printable import did_you_mean
from protocol.releases import FEATURES, Feature, Release, has, release_of
from protocol.terms import Role, RootKind
from services.runtime.knobs import SharedKnobs, read_knobs

Fault = tuple[tuple[str | int, ...], str]


def bus_misfits(file: LabFields) -> Iterator[Fault]:
    """Path below ``bus`` and text of all that is wrong there."""
    bus = file.bus
    if bus.url and bus.servers > 1:
        yield ("servers",), "how many servers somebody else runs is said by their addresses: `url`"
    if bus.account and not bus.url:
        yield ("account",), "an account is for servers that somebody else runs: `url`"
    if bus.authority and not bus.url.startswith("tls:"):
        yield ("authority",), "an authority is for servers that are reached by tls://"
    if bus.url and any(machine.pool for machine in file.machines):
        text = "hosts of a pool come with machines, and no administrator has heard of them"
        yield ("url",), f"{text}: such a lab has its bus on servers of its own"


_Found = Iterator[tuple[tuple[str | int, ...], str]]


def trust_misfits(file: LabFields) -> _Found:
    """Each with its place within the section."""
    authority = file.trust_authority
    if authority is None:
        return
    if authority.vcenter not in {vcenter.name for vcenter in file.vcenters}:
        yield ("vcenter",), f"there is no vCenter {authority.vcenter}"
    elif authority.vcenter == file.vcenters[0].name:
        yield ("vcenter",), "commands go to the first vCenter: this one is another (TA-01)"
    yield from _own(file, authority)
    if authority.site not in file.sites:
        yield ("site",), f"site {authority.site} is not in sites"
    for place, name in enumerate(authority.clusters):
        for text in _trusted_cluster(file, name):
            yield ("clusters", place), text
    workload = _vcenters_of(file, authority)
    if len(workload) > 1:
        text = f"trusted clusters are of one vCenter, not of {' and '.join(sorted(workload))}"
        yield ("clusters",), text
    for provider in file.providers:
        if provider.type == "trusted" and workload and provider.vcenter not in workload:
            yield (), f"provider {provider.name}: it is of a vCenter without trusted clusters"
    yield from _vms(file, authority)


def _own(file: LabFields, authority: TrustAuthorityModel) -> _Found:
    """The vCenter of a Trust Authority is isolated: it has nothing else (TA-01)."""
    for cluster in file.clusters:
        if cluster.vcenter == authority.vcenter:
            yield ("vcenter",), f"cluster {cluster.name} is of it, and it is for itself (TA-01)"
        if cluster.name == authority.cluster:
            yield ("cluster",), f"the cluster name {cluster.name} is used twice"
    for provider in file.providers:
        if provider.vcenter == authority.vcenter:
            yield ("vcenter",), f"provider {provider.name} is of it, and it is for itself (TA-01)"


def _trusted_cluster(file: LabFields, name: str) -> Iterator[str]:
    found = next((cluster for cluster in file.clusters if cluster.name == name), None)
    if found is None:
        yield f"there is no cluster {name}"
    elif not _all_trustable(found.hosts):
        yield f"cluster {name}: each trusted host has a TPM and Secure Boot on (TA-03)"


def _all_trustable(hosts: HostsModel) -> bool:
    return hosts.tpm is not TpmBackend.NONE and not hosts.without_tpm and hosts.secure_boot


def _vcenters_of(file: LabFields, authority: TrustAuthorityModel) -> set[str]:
    return {cluster.vcenter for cluster in file.clusters if cluster.name in authority.clusters}


def _vms(file: LabFields, authority: TrustAuthorityModel) -> _Found:
    trusted = {provider.name for provider in file.providers if provider.type == "trusted"}
    for cluster in file.clusters:
        if cluster.vms.provider in trusted and cluster.name not in authority.clusters:
            yield ("clusters",), f"cluster {cluster.name}: its VMs need it to be a trusted cluster"


KEY_FIELDS: Final = ("default_key_type", "wrapping_key", "rotation_interval")
"""What a provider of a 9.0 vCenter may say of its keys."""
Found = tuple[tuple[str | int, ...], str]


def provider_misfits(file: LabFields) -> Iterator[Found]:
    """Native providers, and wrapped keys, of a vCenter that has none yet."""
    for place, provider in enumerate(file.providers):
        vcenter = _vcenter(file, provider.vcenter)
        if provider.type == "native" and vcenter and not has(vcenter, Feature.NATIVE_PROVIDER):
            text = _too_old(f"vCenter {provider.vcenter}", vcenter, Feature.NATIVE_PROVIDER)
            yield ("providers", place, "type"), f"provider {provider.name}: {text}"
        if vcenter and not has(vcenter, Feature.WRAPPED_KEYS):
            text = _too_old(f"vCenter {provider.vcenter}", vcenter, Feature.WRAPPED_KEYS)
            for field in KEY_FIELDS:
                if getattr(provider, field) is not None:
                    yield ("providers", place, field), f"provider {provider.name}: {text}"


def cluster_misfits(file: LabFields, cluster: ClusterModel) -> Iterator[Found]:
    """Hosts that are newer than their vCenter, or too old for what the file wants of them."""
    hosts = cluster.hosts
    if hosts.versions and hosts.version is not None:
        yield ("hosts", "versions"), "version and versions are given: one of them is enough"
    named = "versions" if hosts.versions else "version"
    releases = [release_of(hosts.version_of(n)) for n in range(hosts.count)]
    vcenter = _vcenter(file, cluster.vcenter)
    if not releases:
        return
    if vcenter is not None and max(releases) > vcenter:
        text = (
            f"its hosts are {max(releases)}, and vCenter {cluster.vcenter} is {vcenter}: a vCenter "
            "manages hosts of its own release and of older ones"
        )
        yield ("hosts", named), text
    oldest = min(releases)
    if hosts.key_persistence and not has(oldest, Feature.KEY_PERSISTENCE):
        yield ("hosts", "key_persistence"), _too_old("a host", oldest, Feature.KEY_PERSISTENCE)
    types = {provider.name: provider.type for provider in file.providers}
    vms = cluster.vms
    native = vms.provider is not None and types.get(vms.provider) == "native"
    if vms.count and native and not has(oldest, Feature.NATIVE_ON_HOST):
        yield ("vms", "provider"), _too_old("a host", oldest, Feature.NATIVE_ON_HOST)


def _vcenter(file: LabFields, name: str) -> Release | None:
    found = next((one for one in file.vcenters if one.name == name), None)
    return None if found is None else release_of(found.version)


def _too_old(who: str, release: Release, feature: Feature) -> str:
    return f"{feature}: {who} is {release}; it came with {FEATURES[feature].release}"


def machine_misfits(file: LabFields) -> Iterator[Fault]:
    """Path below ``machines`` and text of all that is wrong there."""
    if not file.machines:
        if file.datastores:
            yield (), "datastores in a shared folder are for a lab with `machines:`"
        return
    clusters = {cluster.name: cluster for cluster in file.clusters}
    authority = {file.trust_authority.cluster} if file.trust_authority is not None else set()
    services = {node for pair in pairs_of_services(file) for node in pair}
    nodes = {one.name for one in (*file.kms, *file.vcenters)} | {*_hosts(file)} | services
    seen: set[str] = set()
    placed: dict[str, str] = {}
    for place, machine in enumerate(file.machines):
        if machine.name in seen:
            yield (place, "name"), f"the machine name {machine.name} is used twice"
        seen.add(machine.name)
        for section, known in (("clusters", {*clusters} | authority), ("nodes", nodes)):
            for at, name in enumerate(getattr(machine, section)):
                path = (place, section, at)
                if name not in known:
                    yield path, f"there is no {name} among the {_name_places(section)} of this lab"
                elif f"{section}/{name}" in placed:
                    yield path, f"{name} stands on machine {placed[f'{section}/{name}']} already"
                else:
                    placed[f"{section}/{name}"] = machine.name
        if not machine.clusters and not machine.nodes:
            yield (place,), f"nothing stands on machine {machine.name}"
        if machine.pool:
            yield from (((place, "pool"), text) for text in _no_pool(machine, clusters))
    yield from _apart(file, placed)
    yield from _services_apart(file, placed)
    yield from _arrays(file, placed)
    yield from _addresses(file)


def _name_places(section: str) -> str:
    return "clusters" if section == "clusters" else "key servers, vCenters, services and hosts"


def _hosts(file: LabFields) -> dict[str, tuple[ClusterModel, int]]:
    """Each host by its name: its cluster, and the number of its process there."""
    found: dict[str, tuple[ClusterModel, int]] = {}
    for cluster in file.clusters:
        first = len(found) + 1
        for place in range(cluster.hosts.count):
            found[f"esxi-{first + place:03d}"] = cluster, place // cluster.hosts.pack
    return found


def _apart(file: LabFields, placed: dict[str, str]) -> Iterator[Fault]:
    """Hosts that cannot stand elsewhere than their cluster, or than others of their process."""
    hosts, shared = _hosts(file), {datastore.name for datastore in file.datastores}
    processes: dict[tuple[str, int], str] = {}
    for host, (cluster, process) in hosts.items():
        whole = placed.get(f"clusters/{cluster.name}", "here")
        where = placed.get(f"nodes/{host}", whole)
        if where != whole and whole != "here":
            yield (), f"{host} stands on machine {whole} already, with all of {cluster.name}"
        elif where != whole and array_of(cluster) not in shared:
            text = f"{host} stands with cluster {cluster.name}: its datastore lies in no shared"
            yield (), f"{text} folder, see `datastores:`"
        elif where != whole and cluster.vsan is not None:
            yield (), f"{host} stands with cluster {cluster.name}, whose vSAN is on one machine"
        elif processes.setdefault((cluster.name, process), where) != where:
            yield (), f"{host} is packed into a process with a host that stands elsewhere"


def _services_apart(file: LabFields, placed: dict[str, str]) -> Iterator[Fault]:
    """A host of a Trust Authority is two services that lose their power together (TA-01)."""
    authority = file.trust_authority
    whole = "" if authority is None else placed.get(f"clusters/{authority.cluster}", "")
    for pair in pairs_of_services(file):
        first, second = (placed.get(f"nodes/{node}", "") for node in pair)
        if first != second:
            yield (), f"{pair[0]} and {pair[1]} are one host, and stand on one machine: name both"
        elif first and whole:
            yield (), f"{pair[0]} stands on machine {whole} already, with all of its cluster"


def _no_pool(machine: MachineModel, clusters: dict[str, ClusterModel]) -> Iterator[str]:
    """Why hosts of this machine cannot come with the machines that ask for a place."""
    named = [clusters[name] for name in machine.clusters if name in clusters]
    if machine.nodes or len(named) != len(machine.clusters) or len(named) != 1:
        yield f"the pool {machine.name} is for the hosts of one cluster, and for nothing else"
        return
    cluster = named[0]
    if cluster.hosts.count:
        yield (
            f"cluster {cluster.name} gets its hosts from the pool {machine.name}: "
            "write `hosts: {count: 0}`"
        )
    if cluster.vsan is not None or cluster.ha or cluster.drs:
        yield f"vSAN, HA and DRS of cluster {cluster.name}, a pool, are not available yet"


def _arrays(file: LabFields, placed: dict[str, str]) -> Iterator[Fault]:
    """The files of a datastore lie on one machine, with all hosts that use it."""
    first: dict[str, str] = {}
    shared = [datastore.name for datastore in file.datastores]
    for name in sorted({name for name in shared if shared.count(name) > 1}):
        yield (), f"the datastore {name} is named twice"
    for name in sorted({*shared} - {array_of(cluster) for cluster in file.clusters}):
        yield (), f"no cluster has the datastore {name}, which lies in a shared folder"
    for cluster in file.clusters:
        array = cluster.datastore
        if array is None or array in shared:
            continue
        where = placed.get(f"clusters/{cluster.name}", "here")
        if first.setdefault(array, where) != where:
            text = (
                f"cluster {cluster.name} shares the datastore {array} with one that stands on "
                f"another machine ({first[array]}); such clusters stand together, or "
                f"`datastores:` says in which folder it is that these machines share"
            )
            yield (), text


def _addresses(file: LabFields) -> Iterator[Fault]:
    """Addresses that nothing would ever come to."""
    if any(server.transport == "kmip" for server in file.kms):
        return
    for place, machine in enumerate(file.machines):
        if machine.address:
            text = "an address is for connections of KMIP: no key server has `transport: kmip`"
            yield (place, "address"), text


HOSTS_LIMIT: Final = 10_000  # four times what one vCenter may have
PAIR: Final = 2  # key servers of a provider in mode sync-pair
SERVERS_LIMIT: Final = 8  # key servers of a provider in another mode
VSAN_HOSTS: Final = 3  # with a component of an object each
VMS_LIMIT: Final = 100_000
_OF_HOSTS: Final = re.compile(r"esxi-[0-9]+")


class Misfit(NamedTuple):
    """One thing that is wrong: where in the file (keys and places in lists), and what."""

    path: tuple[str | int, ...]
    text: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.text}" if self.path else self.text


def misfits(file: LabFields) -> Iterator[Misfit]:
    """All that does not fit together in a file whose values are right, each for itself."""
    yield from _twice(file)
    yield from _sites(file)
    for place, provider in enumerate(file.providers):
        for path, text in _provider(file, provider):
            yield Misfit(("providers", place, *path), f"provider {provider.name}: {text}")
    for place, server in enumerate(file.kms):
        for path, text in _root(server):
            yield Misfit(("kms", place, *path), f"key server {server.name}: {text}")
    yield from _defaults(file)
    for place, cluster in enumerate(file.clusters):
        for path, text in _cluster(file, cluster):
            yield Misfit(("clusters", place, *path), f"cluster {cluster.name}: {text}")
    for path, text in provider_misfits(file):
        yield Misfit(path, text)
    for path, text in trust_misfits(file):
        yield Misfit(("trust_authority", *path), text)
    for path, text in machine_misfits(file):
        yield Misfit(("machines", *path), text)
    for path, text in bus_misfits(file):
        yield Misfit(("bus", *path), text)
    yield from _service_times(file)
    yield from _limits(file)


def _service_times(file: LabFields) -> Iterator[Misfit]:
    """Roles, nodes and classes of work that do not exist."""
    if file.service_times is None:
        return
    nodes = file.service_times.nodes
    known = {*Role, *SHARED_PROCESSES, *(one.name for one in (*file.kms, *file.vcenters))}
    known |= {str(service) for pair in pairs_of_services(file) for service in pair}
    for name in nodes:
        if name not in known and not _OF_HOSTS.fullmatch(name):
            roles = ", ".join([*Role, *SHARED_PROCESSES])
            yield Misfit(("service_times", "nodes", name), f"no node {name}, nor a role: {roles}")
    for path, text in times_misfits(nodes):
        yield Misfit(("service_times", "nodes", *path), text)


def default_provider(file: LabFields, vcenter: str) -> str | None:
    """The provider that a vCenter uses for new keys: the one that says so, else its first.

    None for a vCenter without providers.
    """
    mine = [provider for provider in file.providers if provider.vcenter == vcenter]
    said = [provider.name for provider in mine if provider.default]
    return next(iter([*said, *(provider.name for provider in mine)]), None)


class Group(NamedTuple):
    """Key servers that replicate with each other, in order of the file, and in which mode."""

    mode: str
    servers: tuple[str, ...]


def groups(file: LabFields) -> list[Group]:
    """The key servers that replicate, each group once: those of one provider."""
    found = [
        Group(mode_of(provider), tuple(dict.fromkeys(provider.servers)))
        for provider in file.providers
        if mode_of(provider) != "none" and len(set(provider.servers)) > 1
    ]
    by_members = {(one.mode, *sorted(one.servers)): one for one in reversed(found)}
    return list(reversed(by_members.values()))


def mode_of(provider: ProviderModel) -> str:
    """When the servers of the provider learn of each other's changes."""
    return provider.replication or "sync-pair"


def _twice(file: LabFields) -> Iterator[Misfit]:
    """Nodes are one kind, whatever their role; hosts get their names from us."""
    nodes = [(("vcenters", n, "name"), v.name) for n, v in enumerate(file.vcenters)]
    nodes += [(("kms", n, "name"), k.name) for n, k in enumerate(file.kms)]
    for path, name in nodes:
        if _OF_HOSTS.fullmatch(name):
            yield Misfit(path, f"{name} is the name of a host; names like it are for hosts only")
    yield from _find_repeated("node", nodes)
    for vcenter in file.vcenters:  # two of them that use one name mean the same keys (KEY-01)
        mine = [(n, p) for n, p in enumerate(file.providers) if p.vcenter == vcenter.name]
        yield from _find_repeated("provider", [(("providers", n, "name"), p.name) for n, p in mine])
    yield from _find_repeated(
        "cluster", [(("clusters", n, "name"), c.name) for n, c in enumerate(file.clusters)]
    )
    yield from _find_repeated("site", [(("sites", n), site) for n, site in enumerate(file.sites)])


def _find_repeated(
    what: str, named: Iterable[tuple[tuple[str | int, ...], str]]
) -> Iterator[Misfit]:
    seen: set[str] = set()
    for path, name in named:
        if name in seen:
            yield Misfit(path, f"the {what} name {name} is used twice")
        seen.add(name)


def _sites(file: LabFields) -> Iterator[Misfit]:
    for section in ("vcenters", "kms", "clusters"):
        for place, item in enumerate(getattr(file, section)):
            if item.site not in file.sites:
                text = f"{item.name}: site {item.site} is not in sites"
                text += did_you_mean(item.site, file.sites, cutoff=0.5)
                yield Misfit((section, place, "site"), text)


def _provider(file: LabFields, provider: ProviderModel) -> Iterator[Misfit]:
    servers = {server.name for server in file.kms}
    yield from _in_a_vcenter(file, provider.vcenter)
    for place, server in enumerate(provider.servers):
        if server not in servers:
            near = did_you_mean(server, servers, cutoff=0.5)
            yield Misfit(("servers", place), f"no key server {server}{near}")
        elif server in provider.servers[:place]:
            yield Misfit(("servers", place), f"the key server {server} is named twice")
    yield from _keys(provider)
    if provider.type == "trusted" and file.trust_authority is None:
        yield Misfit(("type",), "a trusted provider needs a section trust_authority")
    elif provider.type == "native":
        if provider.servers:
            yield Misfit(("servers",), "a native provider has no key servers")
        return
    elif provider.tpm_required:
        yield Misfit(("tpm_required",), "it is for native providers only")
    else:
        yield from _how_many(provider)
        yield from _in_two_groups(file, provider)


def _keys(provider: ProviderModel) -> Iterator[Misfit]:
    """Wrapped keys are for standard providers, and have one wrapping key (KEY-07)."""
    for field in KEY_FIELDS:
        if provider.type != "standard" and getattr(provider, field) is not None:
            yield Misfit((field,), "it is for standard providers only")
    if provider.wrapping_key is not None and provider.rotation_interval is not None:
        text = "a wrapping key given by its id is not replaced: wrapping_key or rotation_interval"
        yield Misfit(("rotation_interval",), text)
    for field in KEY_FIELDS[1:]:
        if provider.default_key_type is None and getattr(provider, field) is not None:
            yield Misfit((field,), "it needs a default_key_type: wrappedKey, or rawKey")


def _root(server: KmsModel) -> Iterator[Misfit]:
    """A lab is built without anybody at a console: so a passphrase lies in a file."""
    path = server.passphrase_file
    if server.root is RootKind.TPM and server.tpm is TpmBackend.NONE:
        yield Misfit(("root",), "the root tpm needs a TPM under the server: tpm: libtpms")
    if server.root is RootKind.PASSPHRASE and not path:
        yield Misfit(("root",), "the root passphrase needs a passphrase_file")
    if path and server.root is not RootKind.PASSPHRASE:
        yield Misfit(("passphrase_file",), "it is for the root passphrase only")
    if path and not path.startswith("/"):
        yield Misfit(("passphrase_file",), f"{path}: the path must be absolute")


def _in_a_vcenter(file: LabFields, vcenter: str) -> Iterator[Misfit]:
    known = [one.name for one in file.vcenters]
    if vcenter not in known:
        near = did_you_mean(vcenter, known, cutoff=0.5)
        yield Misfit(("vcenter",), f"there is no vCenter {vcenter}{near}")


def _how_many(provider: ProviderModel) -> Iterator[Misfit]:
    least, most, text = {
        None: (
            1,
            PAIR,
            "a provider has one server, or two that replicate before they answer; more need "
            "`replication`: none, async or forward",
        ),
        "sync-pair": (PAIR, PAIR, "mode sync-pair has two servers"),
        "none": (1, SERVERS_LIMIT, f"a provider has 1 to {SERVERS_LIMIT} servers"),
    }.get(
        provider.replication,
        (2, SERVERS_LIMIT, f"mode {provider.replication} has 2 to {SERVERS_LIMIT} servers"),
    )
    if not least <= len(provider.servers) <= most:
        yield Misfit(("servers",), text)


def _in_two_groups(file: LabFields, provider: ProviderModel) -> Iterator[Misfit]:
    mine = Group(mode_of(provider), tuple(sorted(set(provider.servers))))
    if len(mine.servers) == 1 or mine.mode == "none":
        return
    for place, server in enumerate(provider.servers):
        first = next((group for group in groups(file) if server in group.servers), mine)
        if sorted(first.servers) != list(mine.servers):
            text = f"{server} replicates with others already: {' and '.join(first.servers)}"
            yield Misfit(("servers", place), text)
        elif first.mode != mine.mode:
            text = f"{server} replicates in mode {first.mode} already"
            yield Misfit(("replication",), text)
            return


def _defaults(file: LabFields) -> Iterator[Misfit]:
    for vcenter in file.vcenters:
        mine = [(n, p) for n, p in enumerate(file.providers) if p.vcenter == vcenter.name]
        said = [(place, provider) for place, provider in mine if provider.default]
        for place, provider in said[1:]:
            first = said[0][1].name
            text = f"provider {provider.name}: the default provider is {first} already"
            yield Misfit(("providers", place, "default"), text)
        if mine and not said and mine[0][1].default is False:
            text = (
                f"provider {mine[0][1].name}: the first one is the default unless another says "
                "`default: true`"
            )
            yield Misfit(("providers", mine[0][0], "default"), text)


def _cluster(file: LabFields, cluster: ClusterModel) -> Iterator[Misfit]:
    providers = sorted({p.name for p in file.providers if p.vcenter == cluster.vcenter})
    vms = cluster.vms
    yield from _in_a_vcenter(file, cluster.vcenter)
    if vms.provider is not None and vms.provider not in providers:
        near = did_you_mean(vms.provider, providers, cutoff=0.5)
        text = f"there is no provider {vms.provider} of {providers}{near}"
        yield Misfit(("vms", "provider"), text)
    elif vms.count and (vms.encrypted or vms.vtpm) and vms.provider is None:
        yield Misfit(("vms",), f"its VMs need a provider of {providers}")
    yield from _vsan(file, cluster)
    hosts = cluster.hosts
    if hosts.without_tpm and hosts.without_tpm >= hosts.count:
        text = "all of its hosts would be without a TPM: write tpm: none"
        yield Misfit(("hosts", "without_tpm"), text)
    for path, text in cluster_misfits(file, cluster):
        yield Misfit(path, text)
    pooled = any(cluster.name in machine.clusters for machine in file.machines if machine.pool)
    if vms.count and not cluster.hosts.count and not pooled:
        yield Misfit(("vms", "count"), "it has VMs, but no host to run them")


def _vsan(file: LabFields, cluster: ClusterModel) -> Iterator[Misfit]:
    """Its provider is named, never the default one (VSAN-01), and no trusted one (R43)."""
    vsan = cluster.vsan
    if vsan is None:
        return
    types = {provider.name: provider.type for provider in file.providers}
    if vsan.provider is None and vsan.encrypted:
        yield Misfit(("vsan",), f"its encryption names a provider of {sorted(types)}")
    elif vsan.provider is not None and vsan.provider not in types:
        near = did_you_mean(vsan.provider, types, cutoff=0.5)
        text = f"there is no provider {vsan.provider} of {sorted(types)}{near}"
        yield Misfit(("vsan", "provider"), text)
    elif vsan.provider is not None and types[vsan.provider] == "trusted":
        text = (
            f"vSAN encryption is not supported with a trusted provider, and {vsan.provider} is one"
        )
        yield Misfit(("vsan", "provider"), text)
    if vsan.erase_disks_before_use:
        text = "disks are not overwritten here; leave it off"
        yield Misfit(("vsan", "erase_disks_before_use"), text)
    if vsan.objects and cluster.hosts.count < VSAN_HOSTS:
        text = (
            f"an object has components on {VSAN_HOSTS} hosts, and there are {cluster.hosts.count}"
        )
        yield Misfit(("vsan", "objects"), text)


def _limits(file: LabFields) -> Iterator[Misfit]:
    hosts = sum(cluster.hosts.count for cluster in file.clusters)
    vms = sum(cluster.vms.count for cluster in file.clusters)
    for what, count, limit in (("hosts", hosts, HOSTS_LIMIT), ("VMs", vms, VMS_LIMIT)):
        if count > limit:
            yield Misfit(("clusters",), f"{count} {what} in all; at most {limit}")
    most = read_knobs(SharedKnobs, file.knobs).max_key_providers
    for vcenter in file.vcenters:
        count = sum(provider.vcenter == vcenter.name for provider in file.providers)
        if count > most:
            text = f"{count} key providers; the knob max_key_providers allows {most}"
            yield Misfit(("providers",), text)
