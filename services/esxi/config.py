"""The installation of a host. Everything else comes from vCenter, or is decided by the host."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.errors import InvalidArgument
from protocol.releases import LATEST, Feature, Release, format_release, has, release_of
from protocol.terms import NodeName


class VsanClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The disks of a host for its cluster's vSAN: how many groups, of how many disks each."""

    groups: int = 1
    disks: int = 2


class EsxiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``version`` is in the product's form (``7.0U3``); ``build`` names the signed image.

    ``vcenter`` is the node that may command this host (empty: none). ``datastore`` is the shared
    array of its cluster. ``vsan``: None on a host whose cluster has no vSAN. ``aesni``: whether its
    processor has AES instructions.
    """

    version: str = format_release(LATEST)
    build: str = "24022510"
    vcenter: NodeName = NodeName("")
    datastore: str = "datastore-1"
    vsan: VsanClaim | None = None
    aesni: bool = True

    @property
    def release(self) -> Release:
        """The release of that version."""
        return release_of(self.version)

    def has(self, feature: Feature) -> bool:
        """Whether a host of this release has the feature."""
        return has(self.release, feature)


def esxi_config(values: Mapping[str, Any]) -> EsxiConfig:
    """Settings from a node's ``config`` map; ``InvalidArgument`` names what is wrong."""
    try:
        made = msgspec.convert(dict(values), EsxiConfig)
        return msgspec.structs.replace(made, version=format_release(made.release))
    except (msgspec.ValidationError, InvalidArgument) as error:
        raise InvalidArgument(f"host: {error}") from None
