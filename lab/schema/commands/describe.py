"""Everything that is known of one object, and why it is as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command

if TYPE_CHECKING:
    from lab.schema.answers import HostDescription, ProviderDescription, VmDescription


class DescribeVm(Command["VmDescription"], frozen=True, tag="describe.vm"):
    """A VM in vCenter's and its host's view, its keys everywhere, and why it is locked or not."""

    vm: str


class DescribeHost(Command["HostDescription"], frozen=True, tag="describe.host"):
    """A host: machine, TPM, key persistence, its VMs, and why it is as it is."""

    host: str


class DescribeProvider(Command["ProviderDescription"], frozen=True, tag="describe.provider"):
    """A key provider: its servers, their state, and what stands in the way."""

    provider: str
