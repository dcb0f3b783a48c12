"""The state of one object, with the reason for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.arguments import HostName, VmName
from lab.schema.commands.base import Look

if TYPE_CHECKING:
    from lab.schema.answers import HostDescription, ProviderDescription, VmDescription


class DescribeVm(Look["VmDescription"], frozen=True, tag="describe.vm"):
    """Describe a VM: power, keys, and why it is locked or not, with the rule and the cure.

    keystead describe vm vm-01
    keystead describe vm vm-01 -o json
    """

    vm: VmName


class DescribeHost(Look["HostDescription"], frozen=True, tag="describe.host"):
    """Describe a host: machine, TPM, key persistence, VMs, and the reasons for its state.

    keystead describe host esxi-001
    keystead describe host esxi-001 -o yaml
    """

    host: HostName


class DescribeProvider(Look["ProviderDescription"], frozen=True, tag="describe.provider"):
    """Describe a key provider: its servers, their state, and what prevents its use.

    keystead describe provider kms-provider
    keystead describe provider kms-provider -o json
    """

    provider: str
