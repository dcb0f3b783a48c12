"""What vCenter tells a KMIP server of a new key: two batches of custom attributes (STD-05).

The first says what made the key, the second what it is for.
"""

from __future__ import annotations

from typing import Final
from uuid import NAMESPACE_DNS, uuid5

from protocol.kmip.dialect import PRODUCT, USE
from protocol.releases import Release
from services.keyservers.client import Tagging
from services.vcenter.providers.provider import KeyUse

_BUILDS: Final = {
    Release(7, 0, 0): 15952498,
    Release(7, 0, 1): 16860138,
    Release(7, 0, 2): 17694817,
    Release(7, 0, 3): 18700403,
    Release(8, 0, 0): 20519528,
    Release(8, 0, 1): 21560480,
    Release(8, 0, 2): 22385739,
    Release(8, 0, 3): 24022515,
}
"""The build of vCenter Server with which each release came out."""


def tags_of(release: Release, use: KeyUse | None) -> Tagging:
    """The batches; the second one only of a key whose ``use`` is known.

    vSphere names a VM or a host by its UUID too; here that is made of its name, which is as unique.
    """
    version = f"{release.major}.{release.minor}.{release.update} build-{_BUILDS[release]}"
    product = tuple(zip(PRODUCT, (version, "VMware, Inc.", "VMware vSphere"), strict=True))
    if use is None:
        return (product,)
    identifier = str(uuid5(NAMESPACE_DNS, f"{use.component}/{use.name}"))
    return product, tuple(zip(USE, (identifier, use.component, use.name), strict=True))
