"""Everything that is known of one object, and why it is as it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.arguments import HostName, VmName
from lab.schema.commands.base import Look

if TYPE_CHECKING:
    from lab.schema.answers import HostDescription, ProviderDescription, VmDescription


class DescribeVm(Look["VmDescription"], frozen=True, tag="describe.vm"):
    """A VM: power, keys, and why it is locked or not, with the rule and the cure.

    keystead describe vm vm-01
    keystead describe vm vm-01 -o json
    """

    vm: VmName


class DescribeHost(Look["HostDescription"], frozen=True, tag="describe.host"):
    """A host: machine, TPM, key persistence, its VMs, and why it is as it is.

    keystead describe host esxi-001
    keystead describe host esxi-001 -o yaml
    """

    host: HostName


class DescribeProvider(Look["ProviderDescription"], frozen=True, tag="describe.provider"):
    """A key provider: its servers, their state, and what stands in the way.

    keystead describe provider kms-provider
    keystead describe provider kms-provider -o json
    """

    provider: str
