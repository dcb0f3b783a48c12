"""Objects that every server of the product has, of which a lab has nothing but the object.

govc takes their references for granted and crashes without them; a method of theirs is answered
with ``MethodNotFound``, which clients print.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pyVmomi import vim

from lab.vsphere.vim.managed import Managed


class PerformanceManager(Managed):
    """Performance counters: a lab measures nothing."""

    kind = vim.PerformanceManager
    properties = {"historicalInterval": lambda m: [], "perfCounter": lambda m: []}


class DiagnosticManager(Managed):
    """Log files: those of a lab are read with ``keystead logs``."""

    kind = vim.DiagnosticManager


class FileManager(Managed):
    """Files of datastores."""

    kind = vim.FileManager


class VirtualDiskManager(Managed):
    """Disks apart from their VMs."""

    kind = vim.VirtualDiskManager


class VStorageObjectManager(Managed):
    """First class disks."""

    kind = vim.vslm.vcenter.VStorageObjectManager


class CustomizationSpecManager(Managed):
    """Specifications for guests."""

    kind = vim.CustomizationSpecManager
    properties = {"info": lambda m: [], "encryptionKey": lambda m: []}


class HostEventManager(Managed):
    """Events of a host: vCenter alone keeps a log of them."""

    kind = vim.event.EventManager
    properties = {"maxCollector": lambda m: 0}


class HostOptionManager(Managed):
    """Advanced settings of a host: those that a lab has are commands of esxcli."""

    kind = vim.option.OptionManager
    properties = {"setting": lambda m: [], "supportedOption": lambda m: []}


class DatastoreBrowser(Managed):
    """Searches a datastore."""

    kind = vim.host.DatastoreBrowser
    properties = {"datastore": lambda b: [b.of.ref], "supportedType": lambda b: []}

    def __init__(self, datastore: Any) -> None:
        super().__init__(f"datastoreBrowser-{datastore.id}")
        self.of = datastore


class EnvironmentBrowser(Managed):
    """Hardware that the hosts of a cluster offer to VMs."""

    kind = vim.EnvironmentBrowser

    def __init__(self, cluster: Any) -> None:
        super().__init__(f"envbrowser-{cluster.id}")


_OF_SERVERS: Mapping[str, tuple[type[Managed], str, str]] = {
    "perfManager": (PerformanceManager, "PerfMgr", "ha-perfmgr"),
    "diagnosticManager": (DiagnosticManager, "DiagMgr", "ha-diagnosticmgr"),
    "fileManager": (FileManager, "FileManager", "ha-nfc-file-manager"),
    "virtualDiskManager": (VirtualDiskManager, "virtualDiskManager", "ha-vdiskmanager"),
    "eventManager": (HostEventManager, "", "ha-eventmgr"),
    "setting": (HostOptionManager, "", "HostAgentSettings"),
    "customizationSpecManager": (CustomizationSpecManager, "CustomizationSpecManager", ""),
    "vStorageObjectManager": (VStorageObjectManager, "VStorageObjectManager", ""),
}
"""By the name in the service content: the class, its id at vCenter and its id at a host, empty
where there is none of it."""


def references(of_host: bool) -> dict[str, tuple[Any, str]]:
    """What the service content has of them."""
    found = {name: (kind, own[of_host]) for name, (kind, *own) in _OF_SERVERS.items()}
    return {name: (kind.kind, own) for name, (kind, own) in found.items() if own}


def singletons(of_host: bool) -> dict[str, Callable[[Any, Any], Managed]]:
    """What makes each of them, by its id."""

    def maker(kind: type[Managed], own: str) -> Callable[[Any, Any], Managed]:
        return lambda _server, _session: kind(own)

    return {
        own[of_host]: maker(kind, own[of_host])
        for kind, *own in _OF_SERVERS.values()
        if own[of_host]
    }
