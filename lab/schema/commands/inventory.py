"""VMs and hosts that come into vCenter's inventory and leave it; hosts let alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Host, HostList, HostRemovalList, Vm, VmRemovalList

A = TypeVar("A", covariant=True)


class VmRegister(Command["Vm"], frozen=True, tag="vm.register"):
    """RegisterVM_Task: a VM whose files lie on the cluster's datastore comes into the inventory.

    ``cluster`` empty: that of ``host``, else the first; ``host`` empty: the emptiest of the
    cluster. One whose keys cannot be had is registered and locked [REG-01].

    ``on_host``: ask ``host`` itself, as its administrator, which works while vCenter is down: with
    ``VmOn`` it is what HA does when a host has lost its power [HA-01]. Files that another host's
    running VM holds are registered too, and cannot be started here until that host lets go.
    """

    vm: str
    cluster: str = ""
    host: str = ""
    on_host: bool = False

    def __post_init__(self) -> None:
        if not self.vm:
            raise wrong("a VM has a name")
        check_names(names.VM, self.vm)
        if self.on_host and not self.host:
            raise wrong("--on-host needs --host: vCenter is not asked")


class _OfVms(Command["VmRemovalList"], frozen=True):
    """``vms`` are names or selectors (``vm-[01-04]``, ``all``); a refusal stops no other."""

    vms: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.vms:
            raise wrong("name at least one VM")


class VmUnregister(_OfVms, frozen=True, tag="vm.unregister"):
    """Take powered-off VMs out of the inventory; their files stay, their keys leave the hosts.

    The keys stay at the key server [STD-17, KEY-03]. ``on_host``: ask ``host`` itself, as its
    administrator: its registration goes, and of keys and other hosts nothing is known there.
    """

    host: str = ""
    on_host: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on_host != bool(self.host):
            raise wrong("--on-host and --host go together: else vCenter is asked")


class VmDestroy(_OfVms, frozen=True, tag="vm.destroy"):
    """Destroy_Task: powered-off VMs go with their files; their keys leave the hosts [STD-17]."""


class _OfHosts(Command[A], Generic[A], frozen=True):
    """``hosts`` are names or selectors (``esxi-[001-003]``, ``site:edge``)."""

    hosts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.hosts:
            raise wrong("name at least one host")


class HostAdd(Command["Host"], frozen=True, tag="host.add"):
    """Add a host in vCenter: one of the lab that vCenter does not have, or a new machine.

    A new one is like those of its cluster, and is powered on. ``host`` empty: the next number;
    ``cluster`` empty: the first one that has a host.
    """

    host: str = ""
    cluster: str = ""

    def __post_init__(self) -> None:
        check_names(names.NODE, self.host)
        check_names(names.CLUSTER, self.cluster)


class HostRemove(_OfHosts["HostRemovalList"], frozen=True, tag="host.remove"):
    """Take hosts and their VMs out of vCenter's inventory; their machines stay as they are.

    Refused while VMs run on a host that is connected.
    """


class HostDisconnect(_OfHosts["HostList"], frozen=True, tag="host.disconnect"):
    """DisconnectHost_Task: vCenter lets these hosts alone until ``HostReconnect``."""


class HostReconnect(_OfHosts["HostList"], frozen=True, tag="host.reconnect"):
    """ReconnectHost_Task: vCenter connects these hosts now, and brings what they miss [B8]."""


class HostEnterMaintenance(_OfHosts["HostList"], frozen=True, tag="host.enter-maintenance"):
    """EnterMaintenanceMode_Task: no VM comes to these hosts or starts there, over reboots too.

    Refused while VMs run on one of them. ``evacuate``: they are moved to other hosts first, as by
    DRS that is fully automated [HA-03].
    """

    evacuate: bool = False


class HostExitMaintenance(_OfHosts["HostList"], frozen=True, tag="host.exit-maintenance"):
    """ExitMaintenanceMode_Task: VMs may come again; nothing is started because of it."""
