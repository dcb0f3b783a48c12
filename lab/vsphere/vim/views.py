"""Views: lists of objects that a session keeps, by container or by hand."""

from __future__ import annotations

from typing import Any

from pyVmomi import vim

from lab.vsphere.faults import invalid_argument
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.managed import Managed, operation

LIST_LIMIT = 20_000


class _View(Managed):
    @operation
    async def DestroyView(self, request: ApiRequest) -> None:
        """It is gone."""
        request.session.held.pop(self.id, None)


class ContainerView(_View):
    """What lies in a container now, of some types."""

    kind = vim.view.ContainerView
    properties = {
        "view": lambda v: [thing.ref for thing in v.things()],
        "container": lambda v: v.container,
        "type": lambda v: list(v.types),
        "recursive": lambda v: v.recursive,
    }

    def __init__(
        self, object_id: str, server: Any, container: Any, types: tuple[Any, ...], recursive: bool
    ) -> None:
        super().__init__(object_id)
        self.server, self.container = server, container
        self.types, self.recursive = types, recursive

    def things(self) -> list[Any]:
        """The objects that it has now; none once its container has gone."""
        inventory = self.server.inventory
        start = inventory.objects.get(self.container._moId)
        if start is None:
            return []
        found, waiting = [], list(reversed(inventory.children(start)))
        while waiting:
            thing = waiting.pop()
            if not self.types or issubclass(thing.kind, self.types):
                found.append(thing)
            if self.recursive:
                waiting += reversed(inventory.children(thing))
        if not self.types or issubclass(vim.VirtualMachine, self.types):
            found += inventory.vms_run_by(start)
        return found


class ListView(_View):
    """A list that its client keeps."""

    kind = vim.view.ListView
    properties = {"view": lambda v: v.objects}

    def __init__(self, object_id: str, objects: list[Any]) -> None:
        super().__init__(object_id)
        self.objects = objects[:LIST_LIMIT]

    @operation
    async def ModifyListView(
        self, request: ApiRequest, add: Any = (), remove: Any = ()
    ) -> list[Any]:
        """Add objects and remove some; those that could not be found."""
        gone = {r._moId for r in remove or ()}
        kept = [o for o in self.objects if o._moId not in gone]
        self.objects = (kept + list(add or ()))[:LIST_LIMIT]
        self.texts.clear()
        return []

    @operation
    async def ResetListView(self, request: ApiRequest, obj: Any = ()) -> list[Any]:
        """Other objects instead."""
        self.objects = list(obj or ())[:LIST_LIMIT]
        self.texts.clear()
        return []


CONTAINERS = (
    vim.Folder, vim.Datacenter, vim.ComputeResource, vim.ResourcePool, vim.HostSystem,
)  # fmt: skip
"""What a view may be of."""


class ViewManager(Managed):
    """Makes views."""

    kind = vim.view.ViewManager
    properties = {"viewList": lambda v: []}

    @operation
    async def CreateContainerView(
        self, request: ApiRequest, container: Any, type: Any = (), recursive: bool = False
    ) -> Any:
        """A view of what lies in a container."""
        request.inventory.find(container)
        if not isinstance(container, CONTAINERS):
            raise invalid_argument("container", f"{container._moId} contains nothing")
        made = ContainerView(
            request.session.fresh_id("view"), request.server, container, tuple(type or ()),
            bool(recursive),
        )  # fmt: skip
        return request.hold(made).ref

    @operation
    async def CreateListView(self, request: ApiRequest, obj: Any = ()) -> Any:
        """A view of these objects."""
        made = ListView(request.session.fresh_id("view"), list(obj or ()))
        return request.hold(made).ref
