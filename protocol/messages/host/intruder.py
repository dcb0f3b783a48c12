"""VMs that a host lists to vCenter though it does not have them, as an intruder would.

Only the host's own console takes these messages. The product has none like them: the laboratory
plays a lying host with them (fault ``host.hostile``).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import CryptoKeyId, VmName


class ClaimedVm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM that is off, and the keys that it is said to need."""

    vm: VmName
    keys: tuple[CryptoKeyId, ...]


class HostClaim(Request["HostClaims"], frozen=True, kw_only=True):
    """List these VMs to vCenter beside the registered ones, or instead of those with their names.

    They replace earlier claims; without ``vms`` the host lists its own VMs only. Claims are in
    memory: a boot ends them. ``again``: no change on a host that claims nothing now.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vms: tuple[ClaimedVm, ...] = ()
    again: bool = False


class QueryHostClaims(Request["HostClaims"], frozen=True, kw_only=True):
    """What the host claims now."""

    repeat: ClassVar[Repeat] = Repeat.READ


class HostClaims(Reply, frozen=True, kw_only=True):
    """What the host claims."""

    vms: tuple[ClaimedVm, ...]
