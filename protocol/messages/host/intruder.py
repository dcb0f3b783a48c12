"""VMs that a compromised host lists to vCenter without having them.

Only the host's own console takes these messages. The product has none like them: the lab plays a
compromised host with them (fault ``host.hostile``).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import CryptoKeyId, VmName


class ClaimedVm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM that is off, and the keys that it claims to need."""

    vm: VmName
    keys: tuple[CryptoKeyId, ...]


class HostClaim(Request["HostClaims"], frozen=True, kw_only=True):
    """List these VMs to vCenter beside the registered ones, replacing those of the same names.

    They replace earlier claims; without ``vms`` the host lists only its own VMs. Claims are in
    memory: a boot ends them. ``again``: no change on a host that claims nothing now.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vms: tuple[ClaimedVm, ...] = ()
    again: bool = False


class QueryHostClaims(Request["HostClaims"], frozen=True, kw_only=True):
    """The VMs that the host claims now."""

    repeat: ClassVar[Repeat] = Repeat.READ


class HostClaims(Reply, frozen=True, kw_only=True):
    """The VMs that the host claims."""

    vms: tuple[ClaimedVm, ...]
