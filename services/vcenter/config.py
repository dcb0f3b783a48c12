"""Settings of a vCenter node; behaviour under doubt is in ``knobs``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from protocol.errors import InvalidArgument
from protocol.releases import LATEST, Release, format_release, release_of
from protocol.terms import NodeName


class VcenterConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """``version`` is in the product's form (``7.0U3``): features of later releases are refused.

    ``vcenters``: the other vCenters with which VMs can be exchanged (MOB-07). ``passes_at_once``:
    hosts that are remediated at the same time in a storm (BOOT-03). ``shares_at_once``: hosts to
    which new keys of their cluster are sent at the same time (STD-12), not counting silent ones.
    ``keys_at_once``: keys in one ``GetKeys`` and one ``AddKeys``; the messages allow 256.
    """

    version: str = format_release(LATEST)
    vcenters: tuple[NodeName, ...] = ()
    passes_at_once: int = 8
    shares_at_once: int = 16
    keys_at_once: int = 256

    @property
    def release(self) -> Release:
        """The release of that version."""
        return release_of(self.version)


def vcenter_config(values: Mapping[str, Any]) -> VcenterConfig:
    """Settings from a node's ``config`` map; ``InvalidArgument`` names what is wrong and where."""
    try:
        made = msgspec.convert(dict(values), VcenterConfig)
        made = msgspec.structs.replace(made, version=format_release(made.release))
    except (msgspec.ValidationError, InvalidArgument) as error:
        raise InvalidArgument(f"vCenter: {error}") from None
    if min(made.passes_at_once, made.shares_at_once) < 1 or not 1 <= made.keys_at_once <= 256:
        raise InvalidArgument(
            "vCenter: passes_at_once and shares_at_once are 1 or more, keys_at_once 1 to 256"
        )
    return made
