"""The API of one ESXi host: reached while vCenter is off, gone while the host is; with one listener
for each host, open while its machine runs.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.schema.answers import MachineState, RuledLink
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import Executor
from lab.vsphere.http.listening import ApiListener
from lab.vsphere.inventory import InventorySnapshot
from lab.vsphere.service import ApiServer
from lab.vsphere.vim import managed, reflect
from lab.vsphere.vim.collector import ViewManager
from lab.vsphere.vim.esxi import CRYPTO, HostCryptoManager, HostInventory, HostWatch
from lab.vsphere.vim.history import TaskManager
from lab.vsphere.vim.host import product
from lab.vsphere.vim.managed import Managed, uuid_of
from lab.vsphere.vim.managers import (
    HostAuthorizationManager,
    LicenseManager,
    SearchIndex,
    ServiceInstance,
    SessionManager,
)
from protocol.authorization import Privilege
from protocol.releases import api_version, release_of
from protocol.terms import Role

ROOT_USER = "root"
_DISKS = "ha-vstorage-object-manager"
"""The manager of first class disks, of which a host has its own type."""


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
        "vStorageObjectManager": (vim.vslm.host.VStorageObjectManager, _DISKS),
        **managed.references(of_host=True),
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
        _DISKS: lambda s, _: managed.named(vim.vslm.host.VStorageObjectManager)(_DISKS),
        **managed.singletons(of_host=True),
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


_log = logging.getLogger(__name__)
LOOK_EVERY_S = 0.5
"""Real seconds between two looks at which hosts run."""
Changed = Callable[[dict[str, int]], object]


class HostListeners:
    """The listeners of all hosts of a lab. ``ports``: by host, as long as the server runs.

    The n-th host of the lab listens at ``port + n``; a host that joins later gets the next port.
    With ``port`` 0 each gets one that is free.
    """

    def __init__(
        self, server: ApiServer, password: str, folder: Path, host: str = "127.0.0.1",
        port: int = 0,
        changed: Changed = lambda ports: None,
    ) -> None:  # fmt: skip
        self._vcenter, self._password, self._folder = server, password, folder
        self._host, self._port, self._changed = host, port, changed
        self._listeners: dict[str, tuple[ApiListener, HostServer, int]] = {}
        self._looking = asyncio.Lock()
        self._taken: set[str] = set()
        self.ports: dict[str, int] = {}
        server.looks.append(self.look)

    async def look(self) -> None:
        """Open and close what has to be. A lab that does not answer closes all."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        links: tuple[RuledLink, ...] = ()
        try:
            nodes = (await self._vcenter.executor.look(c.GetNodes())).items
            links = (await self._vcenter.executor.look(c.GetLinks())).items
        except KeysteadError:
            nodes = ()
        running = {
            str(n.node): n.boot
            for n in nodes
            if n.role is Role.ESXI and n.state is MachineState.RUNNING
        }
        for name, (listener, _, boot) in list(self._listeners.items()):
            if running.get(name) != boot or not listener.is_open:
                await self._close(name)
        before = dict(self.ports)
        for number, name in enumerate((str(n.node) for n in nodes if n.role is Role.ESXI), 1):
            if name not in self.ports:
                self.ports[name] = (
                    self._port + max(number, len(self.ports) + 1) if self._port else 0
                )
            if name in running and name not in self._listeners:
                await self._open(name, running[name])
        for name, (listener, _, _) in self._listeners.items():
            await listener.follow_link(links, name)
        if self.ports != before:
            self._changed(self.ports)

    async def _open(self, name: str, boot: int) -> None:
        server = HostServer(self._vcenter.executor, self._vcenter.lab, name, self._password)
        listener = ApiListener(server, self._folder, self._host, self.ports[name])
        try:
            await server.find_version()
            await listener.open()
        except KeysteadError:  # it went off meanwhile: the next look tells
            return
        except OSError as error:
            if name not in self._taken:
                self._taken.add(name)
                where = f"{self._host}:{self.ports[name]}"
                _log.warning("%s cannot be served at %s: %s", name, where, error.strerror or error)
            return
        self.ports[name] = listener.port
        self._listeners[name] = listener, server, boot

    async def _close(self, name: str) -> None:
        listener, server, _ = self._listeners.pop(name)
        await listener.close()
        await server.close()

    async def follow(self) -> None:
        """Look until this is cancelled."""
        while True:
            try:
                await self.look()
            except Exception:
                _log.exception("the hosts of the lab could not be looked at")
            await asyncio.sleep(LOOK_EVERY_S)

    async def close(self) -> None:
        """Close all."""
        self._vcenter.looks.remove(self.look)
        for name in list(self._listeners):
            await self._close(name)


@contextlib.asynccontextmanager
async def hosts_listening(listeners: HostListeners) -> AsyncIterator[None]:
    """Serve hosts for the length of a block, each while it runs."""
    await listeners.look()
    following = asyncio.get_running_loop().create_task(listeners.follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        await listeners.close()
