"""What an intruder has a host say to vCenter. For the host's own console, as who holds it has that.

The product has no such messages: they are how the laboratory plays a host that lies.
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import CryptoKeyId, VmName


class ClaimedVm(msgspec.Struct, frozen=True, kw_only=True):
    """A VM, off, that the host lists though it has none, and the keys that it is said to need."""

    vm: VmName
    keys: tuple[CryptoKeyId, ...]


class HostClaim(Request["HostClaims"], frozen=True, kw_only=True):
    """List these VMs to vCenter beside the true ones, and in the place of those with their names.

    It replaces what was claimed before; without VMs the host tells the truth. It is kept in memory:
    the next boot ends it.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    vms: tuple[ClaimedVm, ...] = ()


class QueryHostClaims(Request["HostClaims"], frozen=True, kw_only=True):
    """What the host claims now."""

    repeat: ClassVar[Repeat] = Repeat.READ


class HostClaims(Reply, frozen=True, kw_only=True):
    """What the host claims."""

    vms: tuple[ClaimedVm, ...]
