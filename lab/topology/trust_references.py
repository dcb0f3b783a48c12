"""What in the section ``trust_authority`` of a Lab file does not fit together (TA-01 to TA-03)."""

from __future__ import annotations

from collections.abc import Iterator

from lab.topology.model import HostsModel, LabFields, TrustAuthorityModel
from protocol.messages.agent import TpmBackend

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
        for text in _cluster(file, name):
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


def _cluster(file: LabFields, name: str) -> Iterator[str]:
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
