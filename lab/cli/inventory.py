"""``vm register|unregister|destroy``, ``host add|remove|disconnect|reconnect|...-maintenance``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.hosts import HOSTS, HOSTS_WIDE
from lab.cli.options import DEFAULTS, Format, Options
from lab.cli.output import document, field, say, show, show_one
from lab.cli.vms import VMS, VMS_WIDE, OnHost
from lab.schema.commands import (
    Command,
    HostAdd,
    HostDisconnect,
    HostEnterMaintenance,
    HostExitMaintenance,
    HostReconnect,
    HostRemove,
    VmDestroy,
    VmRegister,
    VmUnregister,
)

if TYPE_CHECKING:
    from lab.schema.answers import HostList, VmRemovalList

REMOVED = (field("vm"), field("host"), ("LEFT", lambda r: r.error is None))


def register_(
    vm: str,
    *,
    cluster: Annotated[str, Parameter(help="Cluster; the first when left out.")] = "",
    host: Annotated[str, Parameter(help="Host; the emptiest when left out.")] = "",
    on_host: OnHost = False,
    options: Options = DEFAULTS,
) -> None:
    """Register a VM whose files lie on the datastore; without its keys it is locked (REG-01).

    keystead vm register vm-01
    keystead vm register vm-01 --host esxi-002
    keystead vm register vm-01 --host esxi-002 --on-host
    """
    answer = call(options, VmRegister(vm, cluster, host, on_host))
    show_one(answer, options.output, VMS, VMS_WIDE, key="vm")


def _remove_vms(command: Command[VmRemovalList], options: Options) -> int:
    """1 when one did not leave; each refusal is told in the product's own words."""
    answer = call(options, command)
    show(answer, options.output, REMOVED, (field("error", "REFUSED"),), key="vm")
    for row in answer.refused:
        say(f"keystead: error {row.error_id}: {row.vm}: {row.error}")
    return 1 if answer.refused else 0


def unregister(
    *vms: str,
    host: Annotated[str, Parameter(help="The host that is asked with --on-host.")] = "",
    on_host: OnHost = False,
    options: Options = DEFAULTS,
) -> int:
    """Take VMs out of vCenter's inventory: files stay, keys leave the hosts (STD-17).

    keystead vm unregister vm-01
    keystead vm unregister 'vm-[01-03]'
    keystead vm unregister vm-01 --host esxi-001 --on-host
    """
    return _remove_vms(VmUnregister(vms, host, on_host), options)


def destroy(*vms: str, options: Options = DEFAULTS) -> int:
    """Delete VMs with their files; their keys leave the hosts, not the key server (STD-17).

    keystead vm destroy vm-01
    keystead vm destroy 'vm-[01-03]'
    """
    return _remove_vms(VmDestroy(vms), options)


def add(host: str = "", *, cluster: str = "", options: Options = DEFAULTS) -> None:
    """Add a host in vCenter: one that was removed, or a new machine, which is powered on.

    keystead host add
    keystead host add esxi-004 --cluster cluster-a
    """
    answer = call(options, HostAdd(host, cluster))
    if options.output in (Format.TABLE, Format.WIDE):
        say(f"added {answer.host} to {answer.cluster}: {answer.connection}")
    else:
        document(answer, options.output)


def remove(*hosts: str, options: Options = DEFAULTS) -> None:
    """Take hosts and their VMs out of vCenter's inventory; the machines stay as they are.

    keystead host remove esxi-003
    keystead host remove esxi-003 -o json
    """
    columns = (field("host"), field("vms", "VMS"))
    show(call(options, HostRemove(hosts)), options.output, columns, key="host")


def _hosts(command: Command[HostList], options: Options) -> None:
    show(call(options, command), options.output, HOSTS, HOSTS_WIDE, key="host")


def disconnect(*hosts: str, options: Options = DEFAULTS) -> None:
    """Have vCenter let hosts alone until they are reconnected: they and their VMs go on.

    keystead host disconnect esxi-001
    keystead host disconnect 'esxi-[001-003]'
    """
    _hosts(HostDisconnect(hosts), options)


def reconnect(*hosts: str, options: Options = DEFAULTS) -> None:
    """Have vCenter connect hosts now, and bring what they miss.

    keystead host reconnect esxi-001
    keystead host reconnect role:esxi
    """
    _hosts(HostReconnect(hosts), options)


def enter_maintenance(
    *hosts: str,
    evacuate: Annotated[
        bool, Parameter(negative="", help="Move their running VMs to other hosts first.")
    ] = False,
    options: Options = DEFAULTS,
) -> None:
    """Put hosts into maintenance mode: no VM comes or starts there.

    keystead host enter-maintenance esxi-001 --evacuate
    keystead host enter-maintenance 'esxi-[001-002]'
    """
    _hosts(HostEnterMaintenance(hosts, evacuate), options)


def exit_maintenance(*hosts: str, options: Options = DEFAULTS) -> None:
    """Let VMs come to hosts again; nothing is started because of it.

    keystead host exit-maintenance esxi-001
    keystead host exit-maintenance role:esxi
    """
    _hosts(HostExitMaintenance(hosts), options)
