"""Tasks and events: managers, and collectors that page through both."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pyVmomi import VmomiSupport as support
from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema import commands as c
from lab.vsphere.faults import fault_named, invalid_argument, key_id
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.managed import Managed, operation, own_id

PAGE, PAGE_LIMIT = 100, 1000


def when(seconds: float) -> datetime:
    """A time of the lab as pyVmomi writes it."""
    return datetime.fromtimestamp(seconds, UTC)


class _Task(Managed):
    kind = vim.Task

    @operation
    async def CancelTask(self, request: ApiRequest) -> None:
        """Refused: what a lab does is not taken back in the middle."""
        raise vmodl.fault.NotSupported(msg="this task cannot be cancelled")


class ApiTask(_Task):
    """A task that a client started here, and waits for."""

    properties = {"info": lambda t: t.info}

    def __init__(self, object_id: str, entity: Any, name: str, user: str, at: datetime) -> None:
        super().__init__(object_id)
        self.info = vim.TaskInfo(
            key=object_id, task=self.ref, name=wsdl_method(name),
            descriptionId=description_id(wsdl_method(name), entity and entity.kind, name),
            entity=entity.ref if entity is not None else None,
            entityName=getattr(entity, "name", None) or None, state="running", cancelled=False,
            cancelable=False, reason=vim.TaskReasonUser(userName=user), queueTime=at,
            startTime=at, eventChainId=0,
        )  # fmt: skip

    def end(self, at: datetime, result: Any = None, error: Any = None) -> None:
        """What came of it."""
        self.texts.clear()
        self.info.completeTime = at
        self.info.state = "success" if error is None else "error"
        self.info.result, self.info.error = result, error


def wsdl_method(name: str) -> Any:
    """A method by its name in the WSDL, None when it is not one of the product's."""
    try:
        return support.GetWsdlMethod("urn:vim25", name)
    except KeyError:
        return None


def description_id(method: Any, entity_kind: Any, name: str) -> str:
    """The id of a task's description, such as ``VirtualMachine.powerOn``."""
    if method is None:
        return name
    kind = method.info.type
    if kind is vim.ManagedEntity and entity_kind is not None:  # such as Destroy_Task
        kind = entity_kind
    return f"{kind._wsdlName}.{method.info.name[0].lower()}{method.info.name[1:]}"


_METHODS = {
    "RemoveHost": "Destroy_Task", "DestroyVm": "Destroy_Task", "UnregisterVm": "UnregisterVM",
    **{n: f"{n}_Task" for n in (
        "AddHost", "DisconnectHost", "ReconnectHost", "EnterMaintenanceMode", "CryptoUnlock",
        "ExitMaintenanceMode", "ReconfigureComputeResource", "CreateSnapshot", "RemoveSnapshot",
        "RevertToSnapshot")},
    **{f"{n}Vm": f"{n}VM_Task" for n in (
        "Create", "Register", "Clone", "PowerOn", "PowerOff", "Migrate", "Relocate", "Reconfig")},
    **dict.fromkeys(
        ("EncryptVm", "RecryptVm", "DecryptVm", "AddDisk", "RemoveDisk", "AddVtpm", "RemoveVtpm"),
        "ReconfigVM_Task"),
}  # fmt: skip
"""Methods of vCenter's own tasks, where they are not named alike."""


def _entity_ref(inventory: Any, row: answers.Task, method: Any) -> Any:
    """The object of a task. An object that has gone keeps its reference: govc reads its type."""
    if (entity := inventory.find_by_name(row.entity)) is not None:
        return entity.ref
    if not row.entity or method is None:
        return None
    if row.name == "RemoveHost" or method.info.type is vim.HostSystem:
        return vim.HostSystem(own_id("host", row.entity, "host-"))
    if method.info.type is vim.ClusterComputeResource:
        return None
    return vim.VirtualMachine(own_id("vm", row.entity, "vm-"))


def task_info(inventory: Any, row: answers.Task) -> Any:
    """A task of vCenter as it reports it."""
    method = wsdl_method(_METHODS.get(row.name, row.name))
    entity = _entity_ref(inventory, row, method)
    error = None
    if row.error:
        text = row.reason or row.error
        power = "poweredOn" if row.name == "PowerOnVm" else "poweredOff"
        error = fault_named(row.error, text, entity, power) or vmodl.RuntimeFault(msg=text)
    return vim.TaskInfo(
        key=row.task, task=vim.Task(row.task), name=method,
        descriptionId=description_id(method, entity and type(entity), row.name),
        entity=entity, entityName=row.entity or None,
        state=str(row.state.value), cancelled=False, cancelable=False, error=error,
        reason=vim.TaskReasonUser(userName=row.user), queueTime=when(row.start_time),
        startTime=when(row.start_time), eventChainId=0,
        completeTime=None if row.complete_time is None else when(row.complete_time),
    )  # fmt: skip


class PastTask(_Task):
    """A task of vCenter's own list."""

    properties = {"info": lambda t: task_info(t.inventory, t.row)}

    def __init__(self, inventory: Any, row: answers.Task) -> None:
        super().__init__(row.task)
        self.inventory, self.row = inventory, row


_TYPED = {
    f"vim.event.{kind._wsdlName}": kind
    for kind in (vim.event.VmRegisteredEvent, vim.event.VmRemovedEvent)
}
"""Events of a type of their own, by their ids; all others are ``EventEx``."""
_ID_OF = {kind: event for event, kind in _TYPED.items()}


def _type_id(event: Any) -> str:
    """The id by which filters select an event."""
    return _ID_OF.get(type(event)) or str(event.eventTypeId)


def _severity(event: Any) -> str:
    return "info" if type(event) in _ID_OF else str(event.severity)


def event_of(inventory: Any, row: answers.LoggedEvent) -> Any:
    """An event of the log: of its own type where the product has a simple one (``_TYPED``), else an
    ``EventEx`` with the id of the product. A VM that has gone keeps its reference."""
    event = str(row.event.value)
    host = inventory.hosts.get(str(row.host)) if row.host else None
    vm = inventory.vms.get(str(row.vm)) if row.vm else None
    thing = vm or host
    about = {
        "key": row.sequence, "chainId": row.sequence, "createdTime": when(row.at), "userName": "",
        "fullFormattedMessage": row.text, "datacenter": vim.event.DatacenterEventArgument(
            name=inventory.datacenter.name, datacenter=inventory.datacenter.ref
        ),
    }  # fmt: skip
    kind = _TYPED.get(event)
    if kind is not None:
        found = kind(**about, template=False)
    else:
        severity = "error" if _is_bad(event) else "info"
        found = vim.event.EventEx(**about, eventTypeId=event, message=row.text, severity=severity)
    if host is not None:
        found.host = vim.event.HostEventArgument(name=host.name, host=host.ref)
    if row.vm:
        ref = vm.ref if vm is not None else vim.VirtualMachine(own_id("vm", str(row.vm), "vm-"))
        found.vm = vim.event.VmEventArgument(name=str(row.vm), vm=ref)
    if kind is not None:
        return found
    if thing is not None:
        found.objectId, found.objectName = thing.id, thing.name
        found.objectType = thing.kind
    if row.keys:
        found.arguments = [
            vmodl.KeyAnyValue(key=f"key{n}", value=str(key_id(key).keyId))
            for n, key in enumerate(row.keys, 1)
        ]
    return found


_BAD = ("Fail", "Unreachable", "Error", "Missing", "Locked", "NotBackedUp", "Unhealthy", "Mismatch")


def _is_bad(event: str) -> bool:
    return any(word in event for word in _BAD)


async def read_events(request: ApiRequest) -> list[Any]:
    """Every event of vCenter's log, oldest first."""
    found: list[Any] = []
    after = 0
    while True:
        rows = (await request.ask(c.GetEvents(after=after))).items
        if not rows or rows[-1].sequence <= after:
            return found
        after = rows[-1].sequence
        found += [event_of(request.inventory, row) for row in rows]


def _in_time(at: datetime | None, time: Any) -> bool:
    """Whether a time lies within a filter's; what has no time yet does not."""
    if time is None:
        return True
    if at is None:
        return False
    begin, end = time.beginTime, time.endTime
    return (begin is None or at >= begin) and (end is None or at <= end)


def _event_places(inventory: Any, event: Any) -> list[Any]:
    """The objects that an event is about."""
    found = []
    if event.vm is not None:
        found.append(inventory.objects.get(event.vm.vm._moId))
    if event.host is not None:
        found.append(inventory.objects.get(event.host.host._moId))
    return [one for one in found if one is not None]


_VIM = "vim.event."


def _select_events(inventory: Any, events: Sequence[Any], filter_: Any) -> list[Any]:
    found = list(events)
    types = {str(one) for one in filter_.eventTypeId or ()}
    if types:  # of vim25's own also without the package: VmRemovedEvent
        found = [e for e in found if {_type_id(e), _type_id(e).removeprefix(_VIM)} & types]
    if filter_.category:
        found = [e for e in found if _severity(e) in filter_.category]
    if filter_.userName is not None and filter_.userName.userList:
        found = [e for e in found if e.userName in filter_.userName.userList]
    found = [e for e in found if _in_time(e.createdTime, filter_.time)]
    if (of := filter_.entity) is not None:
        found = [
            e
            for e in found
            if inventory.lies_in(_event_places(inventory, e), of.entity, str(of.recursion))
        ]
    if filter_.maxCount:
        found = found[-int(filter_.maxCount) :]
    return found


class _Collector(Managed):
    """Pages through a log. A new collector stands at its oldest row; ``latestPage`` has the newest
    rows, newest first."""

    def __init__(self, object_id: str, filter_: Any) -> None:
        super().__init__(object_id)
        self.filter = filter_
        self.rows: list[Any] = []
        self.position, self.page = 0, PAGE

    def _take(self, start: int, count: int) -> list[Any]:
        if not 0 < count <= PAGE_LIMIT:
            raise invalid_argument("maxCount", f"{count}: 1 to {PAGE_LIMIT} rows at once")
        return self.rows[max(start, 0) : max(start, 0) + count]

    async def read_next(self, request: ApiRequest, count: int) -> list[Any]:
        """The next ``count`` rows, which may be fewer."""
        await self.refresh(request)
        found = self._take(self.position, count)
        self.position += len(found)
        return found

    async def read_previous(self, request: ApiRequest, count: int) -> list[Any]:
        """``count`` rows before the position, which may be fewer."""
        await self.refresh(request)
        start = max(self.position - count, 0)
        found = self._take(start, min(count, self.position) or count)[: self.position - start]
        self.position = start
        return found

    @operation
    async def SetCollectorPageSize(self, request: ApiRequest, maxCount: int) -> None:
        """How many rows ``latestPage`` has."""
        if not 0 < maxCount <= PAGE_LIMIT:
            raise invalid_argument("maxCount", f"{maxCount}: 1 to {PAGE_LIMIT}")
        self.page = int(maxCount)
        await self.refresh(request)
        self.texts.clear()

    @operation
    async def RewindCollector(self, request: ApiRequest) -> None:
        """Stand at the oldest row."""
        self.position = 0

    @operation
    async def ResetCollector(self, request: ApiRequest) -> None:
        """Stand after the newest row."""
        await self.refresh(request)
        self.position = len(self.rows)

    @operation
    async def DestroyCollector(self, request: ApiRequest) -> None:
        """It is gone."""
        request.session.held.pop(self.id, None)


class EventHistoryCollector(_Collector):
    """A collector of events."""

    kind = vim.event.EventHistoryCollector
    properties = {
        "filter": lambda e: e.filter,
        "latestPage": lambda e: list(reversed(e.rows[-e.page :])),
        "initialized": lambda e: True,
    }

    async def refresh(self, request: ApiRequest) -> None:
        """Read what is new."""
        self.rows = _select_events(request.inventory, await read_events(request), self.filter)
        self.texts.clear()

    @operation
    async def ReadNextEvents(self, request: ApiRequest, maxCount: int) -> list[Any]:
        """The next events."""
        return await self.read_next(request, maxCount)

    @operation
    async def ReadPreviousEvents(self, request: ApiRequest, maxCount: int) -> list[Any]:
        """The events before."""
        return await self.read_previous(request, maxCount)


_TIMES = {"queuedTime": "queueTime", "startedTime": "startTime", "completedTime": "completeTime"}


def _is_asked_for(inventory: Any, info: Any, filter_: Any) -> bool:
    """Whether a ``TaskFilterSpec`` selects a task."""
    if filter_.state and str(info.state) not in filter_.state:
        return False
    if filter_.userName is not None and filter_.userName.userList:
        if info.reason.userName not in filter_.userName.userList:
            return False
    if (time := filter_.time) is not None:
        at = getattr(info, _TIMES[str(time.timeType)])
        if not _in_time(at, time):
            return False
    if (of := filter_.entity) is not None:
        place = inventory.objects.get(info.entity._moId) if info.entity is not None else None
        return bool(inventory.lies_in([place] if place else [], of.entity, str(of.recursion)))
    return True


class TaskHistoryCollector(_Collector):
    """A collector of tasks."""

    kind = vim.TaskHistoryCollector
    properties = {
        "filter": lambda t: t.filter,
        "latestPage": lambda t: list(reversed(t.rows[-t.page :])),
    }

    async def refresh(self, request: ApiRequest) -> None:
        """Read what is new."""
        inventory = request.inventory
        found = [task_info(inventory, row) for row in inventory.snapshot.tasks]
        self.rows = [info for info in found if _is_asked_for(inventory, info, self.filter)]
        self.texts.clear()

    @operation
    async def ReadNextTasks(self, request: ApiRequest, maxCount: int) -> list[Any]:
        """The next tasks."""
        return await self.read_next(request, maxCount)

    @operation
    async def ReadPreviousTasks(self, request: ApiRequest, maxCount: int) -> list[Any]:
        """The tasks before."""
        return await self.read_previous(request, maxCount)


def _elements(keys: Sequence[str]) -> list[Any]:
    return [vim.ElementDescription(key=k, label=k, summary=k) for k in keys]


class EventManager(Managed):
    """The log of events."""

    kind = vim.event.EventManager
    properties = {
        "description": lambda e: vim.event.EventDescription(
            category=_elements(["info", "warning", "error", "user"]),
            eventInfo=[
                vim.event.EventDescription.EventDetail(
                    key=vim.event.EventEx,
                    description="An event of key management",
                    category="info",
                    formatOnDatacenter="",
                    formatOnComputeResource="",
                    formatOnHost="",
                    formatOnVm="",
                    fullFormat="{eventTypeId}",
                ),
                *(
                    vim.event.EventDescription.EventDetail(
                        key=kind,
                        description="A VM entered or left the inventory",
                        category="info",
                        formatOnDatacenter="",
                        formatOnComputeResource="",
                        formatOnHost="",
                        formatOnVm="",
                        fullFormat="{vm.name}",
                    )
                    for kind in _TYPED.values()
                ),
            ],
        ),
        "maxCollector": lambda e: 100,
    }

    @operation
    async def QueryEvents(self, request: ApiRequest, filter: Any) -> list[Any]:
        """Events, oldest first."""
        return _select_events(request.inventory, await read_events(request), filter)[-PAGE_LIMIT:]

    @operation
    async def CreateCollectorForEvents(self, request: ApiRequest, filter: Any) -> Any:
        """A collector, which lives as long as the session."""
        made = EventHistoryCollector(request.session.fresh_id("events"), filter)
        request.hold(made)
        await made.refresh(request)
        return made.ref


def _descriptions(inventory: Any) -> list[str]:
    infos = (task_info(inventory, row) for row in inventory.snapshot.tasks)
    return sorted({info.descriptionId for info in infos}) or ["Task"]


class TaskManager(Managed):
    """The tasks of vCenter."""

    kind = vim.TaskManager
    properties = {
        "recentTask": lambda t: [vim.Task(r.task) for r in t.inventory.snapshot.tasks[-50:]],
        "description": lambda t: vim.TaskDescription(
            methodInfo=_elements(_descriptions(t.inventory)),
            state=_elements(["queued", "running", "success", "error"]),
            reason=[vim.TypeDescription(key=vim.TaskReasonUser, label="user", summary="A user")],
        ),
        "maxCollector": lambda t: 100,
    }

    def __init__(self, object_id: str, inventory: Any) -> None:
        super().__init__(object_id)
        self.inventory = inventory

    @operation
    async def CreateCollectorForTasks(self, request: ApiRequest, filter: Any) -> Any:
        """A collector, which lives as long as the session."""
        made = TaskHistoryCollector(request.session.fresh_id("tasks"), filter)
        request.hold(made)
        await made.refresh(request)
        return made.ref
