"""What a host is installed with; everything else comes from vCenter, or the host decides it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.errors import InvalidArgument
from protocol.releases import LATEST, Feature, Release, format_release, has, release_of
from protocol.terms import NodeName


class VsanClaim(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The disks of a host for its cluster's vSAN: so many groups of so many disks."""

    groups: int = 1
    disks: int = 2


class EsxiConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``version`` as people write it (``7.0U3``); ``build`` names the signed image.

    ``vcenter`` is the one that may command this host (empty: none); ``datastore`` the shared
    array of its cluster. ``vsan``: None on a host whose cluster has no vSAN.
    ``aesni``: whether its processor has AES instructions.
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
    """Settings from a node's ``config`` map; ``InvalidArgument`` says what is wrong."""
    try:
        made = msgspec.convert(dict(values), EsxiConfig)
        return msgspec.structs.replace(made, version=format_release(made.release))
    except (msgspec.ValidationError, InvalidArgument) as error:
        raise InvalidArgument(f"host: {error}") from None
