"""What in a Lab file does not fit together: names used twice or pointing to nothing, and limits.

Every finding has its own place in the file, so that one reading tells all of them.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from lab.topology.bus_references import bus_misfits
from lab.topology.machine_references import machine_misfits
from lab.topology.model import ClusterModel, KmsModel, LabFields, ProviderModel
from lab.topology.service_times import SHARED_PROCESSES, times_misfits
from lab.topology.trust_nodes import pairs_of_services
from lab.topology.trust_references import trust_misfits
from lab.topology.version_references import KEY_FIELDS, cluster_misfits, provider_misfits
from protocol.messages.agent import TpmBackend
from protocol.terms import Role, RootKind
from services.runtime.knobs import SharedKnobs, read_knobs

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


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """``; did you mean ...?`` with what is nearest to ``name``, or nothing."""
    found = difflib.get_close_matches(name[:80], list(known), n=1, cutoff=0.5)
    return f"; did you mean {found[0]}?" if found else ""


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
                text += did_you_mean(item.site, file.sites)
                yield Misfit((section, place, "site"), text)


def _provider(file: LabFields, provider: ProviderModel) -> Iterator[Misfit]:
    servers = {server.name for server in file.kms}
    yield from _in_a_vcenter(file, provider.vcenter)
    for place, server in enumerate(provider.servers):
        if server not in servers:
            near = did_you_mean(server, servers)
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
        near = did_you_mean(vcenter, known)
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
        near = did_you_mean(vms.provider, providers)
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
        near = did_you_mean(vsan.provider, types)
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
