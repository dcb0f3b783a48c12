"""The API of one ESXi host: reached while vCenter is off, gone while the host is."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema.answers import MachineState
from lab.schema.errors import KeysteadError
from lab.vsphere import bare
from lab.vsphere.executor import Executor
from lab.vsphere.objects import uuid_of
from lab.vsphere.service import ApiServer
from lab.vsphere.snapshot import InventorySnapshot
from lab.vsphere.vim import reflect
from lab.vsphere.vim.authorization import HostAuthorizationManager
from lab.vsphere.vim.esxi import CRYPTO, HostCryptoManager, HostInventory, HostWatch
from lab.vsphere.vim.history import TaskManager
from lab.vsphere.vim.host import product
from lab.vsphere.vim.managed import Managed
from lab.vsphere.vim.managers import LicenseManager, SearchIndex, ServiceInstance, SessionManager
from lab.vsphere.vim.views import ViewManager
from protocol.authorization import Privilege
from protocol.releases import api_version, release_of

ROOT_USER = "root"


class HostServer(ApiServer):
    """The API of one host. Its only user is ``root``, who may do everything there."""

    references = {
        "rootFolder": (vim.Folder, HostInventory.ids.root),
        "propertyCollector": (vmodl.query.PropertyCollector, "ha-property-collector"),
        "viewManager": (vim.view.ViewManager, "ViewManager"),
        "sessionManager": (vim.SessionManager, "ha-sessionmgr"),
        "taskManager": (vim.TaskManager, "ha-taskmgr"),
        "searchIndex": (vim.SearchIndex, "ha-searchindex"),
        "cryptoManager": (vim.encryption.CryptoManagerHostKMS, CRYPTO),
        "authorizationManager": (vim.AuthorizationManager, "ha-authmgr"),
        "licenseManager": (vim.LicenseManager, "ha-license-manager"),
        **bare.references(of_host=True),
    }
    singletons = {
        "ServiceInstance": lambda s, _: ServiceInstance(s),
        "ha-sessionmgr": SessionManager,
        "ha-taskmgr": lambda s, _: TaskManager("ha-taskmgr", s.inventory),
        "ha-searchindex": lambda s, _: SearchIndex("ha-searchindex"),
        "ha-authmgr": lambda s, _: HostAuthorizationManager(s),
        "ha-license-manager": lambda s, _: LicenseManager("ha-license-manager"),
        "ViewManager": lambda s, _: ViewManager("ViewManager"),
        CRYPTO: lambda s, _: HostCryptoManager(s.inventory),
        **bare.singletons(of_host=True),
    }
    administrator = ROOT_USER
    has_vapi = False

    def __init__(self, executor: Executor, lab: str, host: str, password: str) -> None:
        super().__init__(executor, lab, password)
        self.host = host
        self.watch: HostWatch = HostWatch(executor, host)
        self.instance_uuid = uuid_of(lab, "host", host)

    @property
    def users(self) -> tuple[answers.User, ...]:
        """Its own user."""
        return (answers.User(user=ROOT_USER, role="Admin"),)

    @property
    def roles(self) -> tuple[answers.PermissionRole, ...]:
        """The role of its user."""
        everything = tuple(Privilege)
        return (
            answers.PermissionRole(role="Admin", system=True, privileges=everything, without=()),
        )

    def make_inventory(self, snapshot: InventorySnapshot) -> HostInventory:
        """The inventory of what the host said of itself."""
        return HostInventory(snapshot, self.lab)

    async def is_on(self) -> bool:
        """Whether the host's machine runs: not while it boots, or has halted at a screen."""
        try:
            return (await self.watch.node()).state is MachineState.RUNNING
        except KeysteadError:
            return False

    async def find_version(self) -> None:
        """Learn which version of the API the host's release has."""
        await self.refresh()
        release = release_of(self._own.row.version)
        self.api_version = api_version(release)

    @property
    def _own(self) -> Any:
        return next(iter(self.inventory.hosts.values()))

    def about(self) -> Any:
        """What the host says of itself."""
        found = product(self._own)
        found.apiVersion = self.api_version
        found.instanceUuid = self.instance_uuid
        return found

    def find_more(self, object_id: str) -> Managed | None:
        """An object of esxcli."""
        return reflect.find_object(self._own, object_id)
