"""VMs and hosts that come into vCenter's inventory and leave it; hosts let alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Generic

from lab.schema.commands.arguments import doc
from lab.schema.commands.base import A, Command, check_names, wrong
from lab.schema.commands.vms import OnHost
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Host, HostList, HostRemovalList, Vm, VmRemovalList


class VmRegister(Command["Vm"], frozen=True, tag="vm.register"):
    """Register a VM whose files lie on the datastore; without its keys it is locked [REG-01].

    keystead vm register vm-01
    keystead vm register vm-01 --host esxi-002
    keystead vm register vm-01 --host esxi-002 --on-host

    With ``on_host`` and `vm on` it is what HA does when a host has lost its power [HA-01], also
    while vCenter is down. Files that another host's running VM holds are registered too, and cannot
    be started here until that host lets go.
    """

    vm: str
    cluster: Annotated[str, doc("Cluster; that of the host, else the first.")] = ""
    host: Annotated[str, doc("Host; the emptiest of the cluster when left out.")] = ""
    on_host: OnHost = False

    def __post_init__(self) -> None:
        if not self.vm:
            raise wrong("a VM has a name")
        check_names(names.VM, self.vm)
        if self.on_host and not self.host:
            raise wrong("--on-host needs --host: vCenter is not asked")


class _OfVms(Command["VmRemovalList"], frozen=True):
    vms: Annotated[tuple[str, ...], doc("Names or selectors: vm-[01-04], all.", completes="vm")]

    def __post_init__(self) -> None:
        if not self.vms:
            raise wrong("name at least one VM")


class VmUnregister(_OfVms, frozen=True, tag="vm.unregister"):
    """Take VMs out of vCenter's inventory: files stay, keys leave the hosts [STD-17].

    keystead vm unregister vm-01
    keystead vm unregister 'vm-[01-03]'
    keystead vm unregister vm-01 --host esxi-001 --on-host

    They are powered off; a refusal stops no other. Their keys stay at the key server [KEY-03]. With
    ``on_host`` the host's own registration goes; it knows nothing of keys and other hosts.
    """

    host: Annotated[str, doc("The host that is asked with --on-host.")] = ""
    on_host: OnHost = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on_host != bool(self.host):
            raise wrong("--on-host and --host go together: else vCenter is asked")


class VmDestroy(_OfVms, frozen=True, tag="vm.destroy"):
    """Delete VMs with their files; their keys leave the hosts, not the key server [STD-17].

    keystead vm destroy vm-01
    keystead vm destroy 'vm-[01-03]'

    They are powered off; a refusal stops no other.
    """


class _OfHosts(Command[A], Generic[A], frozen=True):
    hosts: Annotated[
        tuple[str, ...], doc("Names or selectors: esxi-[001-003], site:edge.", completes="host")
    ]

    def __post_init__(self) -> None:
        if not self.hosts:
            raise wrong("name at least one host")


class HostAdd(Command["Host"], frozen=True, tag="host.add"):
    """Add a host in vCenter: one that was removed, or a new machine, which is powered on.

    keystead host add
    keystead host add esxi-004 --cluster cluster-a

    A new machine is like those of its cluster.
    """

    host: Annotated[str, doc("Its name; the next number when left out.", word=True)] = ""
    cluster: Annotated[str, doc("Its cluster; the first that has a host.")] = ""

    def __post_init__(self) -> None:
        check_names(names.NODE, self.host)
        check_names(names.CLUSTER, self.cluster)

    def message(self, answer: Host) -> str:
        return f"added {answer.host} to {answer.cluster}: {answer.connection}"


class HostRemove(_OfHosts["HostRemovalList"], frozen=True, tag="host.remove"):
    """Take hosts and their VMs out of vCenter's inventory; the machines stay as they are.

    keystead host remove esxi-003
    keystead host remove esxi-003 -o json

    Refused while VMs run on a host that is connected.
    """


class HostDisconnect(_OfHosts["HostList"], frozen=True, tag="host.disconnect"):
    """Have vCenter let hosts alone until they are reconnected: they and their VMs go on.

    keystead host disconnect esxi-001
    keystead host disconnect 'esxi-[001-003]'
    """


class HostReconnect(_OfHosts["HostList"], frozen=True, tag="host.reconnect"):
    """Have vCenter connect hosts now, and bring what they miss [B8].

    keystead host reconnect esxi-001
    keystead host reconnect role:esxi
    """


class HostEnterMaintenance(_OfHosts["HostList"], frozen=True, tag="host.enter-maintenance"):
    """Put hosts into maintenance mode, over reboots too: no VM comes or starts there.

    keystead host enter-maintenance esxi-001 --evacuate
    keystead host enter-maintenance 'esxi-[001-002]'

    Refused while VMs run on one of them.
    """

    evacuate: Annotated[
        bool, doc("Move their running VMs to other hosts first, as automated DRS does [HA-03].")
    ] = False


class HostExitMaintenance(_OfHosts["HostList"], frozen=True, tag="host.exit-maintenance"):
    """Let VMs come to hosts again; nothing is started because of it.

    keystead host exit-maintenance esxi-001
    keystead host exit-maintenance role:esxi
    """
