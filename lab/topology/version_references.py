"""What in a Lab file does not fit the versions of its hosts and vCenters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from lab.topology.model import ClusterModel, LabFields
from protocol.releases import FEATURES, Feature, Release, has, release_of

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
