"""Add VMs and hosts to vCenter's inventory, remove them, disconnect hosts, maintenance mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Generic

from lab.schema.commands.base import A, Command, check_names, doc, wrong
from lab.schema.commands.vms import OnHost
from protocol import names

if TYPE_CHECKING:
    from lab.schema.answers import Host, HostList, HostRemovalList, Vm, VmRemovalList


class VmRegister(Command["Vm"], frozen=True, tag="vm.register"):
    """Register a VM from its files on the datastore; without its keys it is locked [REG-01].

    keystead vm register vm-01
    keystead vm register vm-01 --host esxi-002
    keystead vm register vm-01 --host esxi-002 --on-host

    ``on_host`` followed by `vm on` repeats what HA does after a host failure [HA-01]; it also works
    while vCenter is down. A VM that still runs on another host can be registered, but not powered
    on until the other host releases its files.
    """

    vm: str
    cluster: Annotated[
        str, doc("Cluster. Default: the cluster of the host, else the first one.")
    ] = ""
    host: Annotated[str, doc("Host. Default: the emptiest host of the cluster.")] = ""
    on_host: OnHost = False

    def __post_init__(self) -> None:
        if not self.vm:
            raise wrong("the name of the VM is empty")
        check_names(names.VM, self.vm)
        if self.on_host and not self.host:
            raise wrong("--on-host needs --host, since vCenter takes no part")


class _OfVms(Command["VmRemovalList"], frozen=True):
    vms: Annotated[tuple[str, ...], doc("Names or selectors: vm-[01-04], all.", completes="vm")]

    def __post_init__(self) -> None:
        if not self.vms:
            raise wrong("name at least one VM")


class VmUnregister(_OfVms, frozen=True, tag="vm.unregister"):
    """Unregister VMs from vCenter; files stay, hosts remove the VMs' keys [STD-17].

    keystead vm unregister vm-01
    keystead vm unregister 'vm-[01-03]'
    keystead vm unregister vm-01 --host esxi-001 --on-host

    The VMs must be powered off. If one is refused, the others are still unregistered. Their keys
    stay at the key server [KEY-03]. ``on_host`` removes only the host's own registration and no
    keys.
    """

    host: Annotated[str, doc("Host for --on-host.")] = ""
    on_host: OnHost = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.on_host != bool(self.host):
            raise wrong("use --on-host and --host together, or neither of them")


class VmDestroy(_OfVms, frozen=True, tag="vm.destroy"):
    """Delete VMs and their files; hosts remove the VMs' keys, the key server keeps them [STD-17].

    keystead vm destroy vm-01
    keystead vm destroy 'vm-[01-03]'

    The VMs must be powered off. If one is refused, the others are still deleted.
    """


class _OfHosts(Command[A], Generic[A], frozen=True):
    hosts: Annotated[
        tuple[str, ...], doc("Names or selectors: esxi-[001-003], site:edge.", completes="host")
    ]

    def __post_init__(self) -> None:
        if not self.hosts:
            raise wrong("name at least one host")


class HostAdd(Command["Host"], frozen=True, tag="host.add"):
    """Add a host to vCenter: a removed one, or a new machine, which is powered on.

    keystead host add
    keystead host add esxi-004 --cluster cluster-a

    A new machine has the same hardware and release as the other hosts of its cluster.
    """

    host: Annotated[str, doc("Name. Default: the next free number.", word=True)] = ""
    cluster: Annotated[str, doc("Cluster. Default: the first one with a host.")] = ""

    def __post_init__(self) -> None:
        check_names(names.NODE, self.host)
        check_names(names.CLUSTER, self.cluster)

    def message(self, answer: Host) -> str:
        return f"added {answer.host} to {answer.cluster}: {answer.connection}"


class HostRemove(_OfHosts["HostRemovalList"], frozen=True, tag="host.remove"):
    """Remove hosts and their VMs from vCenter's inventory; the machines do not change.

    keystead host remove esxi-003
    keystead host remove esxi-003 -o json

    Refused while VMs run on a host that is connected.
    """


class HostDisconnect(_OfHosts["HostList"], frozen=True, tag="host.disconnect"):
    """Disconnect hosts from vCenter until `host reconnect`; they and their VMs keep running.

    keystead host disconnect esxi-001
    keystead host disconnect 'esxi-[001-003]'
    """


class HostReconnect(_OfHosts["HostList"], frozen=True, tag="host.reconnect"):
    """Reconnect hosts to vCenter now; vCenter pushes the keys and settings that they lack [B8].

    keystead host reconnect esxi-001
    keystead host reconnect role:esxi
    """


class HostEnterMaintenance(_OfHosts["HostList"], frozen=True, tag="host.enter-maintenance"):
    """Put hosts into maintenance mode, which also lasts across reboots.

    keystead host enter-maintenance esxi-001 --evacuate
    keystead host enter-maintenance 'esxi-[001-002]'

    No VM moves to such a host or starts there. Refused while VMs run on one of the hosts.
    """

    evacuate: Annotated[
        bool, doc("First migrate running VMs to other hosts, like automated DRS [HA-03].")
    ] = False


class HostExitMaintenance(_OfHosts["HostList"], frozen=True, tag="host.exit-maintenance"):
    """Take hosts out of maintenance mode; no VM is started by it.

    keystead host exit-maintenance esxi-001
    keystead host exit-maintenance role:esxi
    """
