"""What does not fit together in the part of a Lab file that says what stands on which machine."""

from __future__ import annotations

from collections.abc import Iterator

from lab.topology.model import ClusterModel, LabFields, MachineModel, array_of
from lab.topology.trust_nodes import pairs_of_services

Fault = tuple[tuple[str | int, ...], str]


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
