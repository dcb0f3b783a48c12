"""A call of a session, from its object to its result. What codecs and routes stand upon."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from pyVmomi import vim, vmodl

from lab.schema import answers
from lab.schema.answers import MachineState
from lab.schema.commands import Command
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import Executor, ServedCall
from lab.vsphere.faults import fault_of, no_permission, not_found, not_served
from lab.vsphere.inventory import InventorySnapshot, LabWatch, ObjectInventory
from lab.vsphere.request import HELD_LIMIT, ApiSession, ApiSessions, Work
from lab.vsphere.vapi.providers import Downloads
from lab.vsphere.vim import managed
from lab.vsphere.vim.alarms import AlarmDefinition
from lab.vsphere.vim.collector import PropertyCollector, ViewManager
from lab.vsphere.vim.crypto import CryptoManagerKmip
from lab.vsphere.vim.history import ApiTask, EventManager, PastTask, TaskManager
from lab.vsphere.vim.managed import Managed, uuid_of
from lab.vsphere.vim.managers import (
    REFERENCES,
    AlarmManager,
    AuthorizationManager,
    CustomFieldsManager,
    ExtensionManager,
    LicenseManager,
    OptionManager,
    SearchIndex,
    ServiceInstance,
    SessionManager,
    about,
)
from lab.vsphere.vim.reflect import find_for_vcenter
from protocol.authorization import ADMINISTRATOR, Privilege
from protocol.releases import api_version, release_of

_log = logging.getLogger(__name__)
_OPEN = frozenset({"RetrieveServiceContent", "Login", "CurrentTime"})
"""What a client may call before it has logged in."""
CALLS_KEPT = 1_000
_EVERYTHING = frozenset(Privilege)
_STILL = frozenset({"ServiceInstance", "SessionManager", "ha-sessionmgr"})
"""Objects that need nothing of the lab."""


Singleton = Callable[[Any, "ApiSession | None"], Managed]
"""Makes an object that a server has once, for a session."""


class ApiServer:
    """The API of one vCenter. It holds sessions; everything else comes from the lab's answers."""

    references: ClassVar[Mapping[str, tuple[Any, str]]] = REFERENCES
    singletons: ClassVar[Mapping[str, Singleton]]
    administrator = ADMINISTRATOR
    has_vapi = True

    def __init__(
        self, executor: Executor, lab: str, password: str, vcenter: str = "",
        api_version: str = "",
    ) -> None:  # fmt: skip
        self.executor, self.lab = executor, lab
        self.api_version = api_version or "8.0.3.0"
        """The newest version that clients may ask for: as told, else that of the release."""
        self._follows_release = not api_version
        self.vcenter_name = vcenter or "vcenter"
        self.watch = LabWatch(executor, vcenter)
        self.sessions = ApiSessions(lambda: self.clock().timestamp())
        self.downloads = Downloads()
        self.instance_uuid = uuid_of(lab, "vcenter", self.vcenter_name)
        self._password = password
        self._inventory: ObjectInventory | None = None
        self.when_off: Callable[[], Awaitable[None]] = self._end_sessions
        """What closes the port when a call finds that vCenter is off."""
        self.looks: list[Callable[[], Awaitable[None]]] = []
        """What opens and closes ports as vCenter and hosts go on and off."""
        self.calls: deque[ServedCall] = deque(maxlen=CALLS_KEPT)
        """The newest calls of clients."""
        self._calls = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._boot = 0

    @property
    def root(self) -> Any:
        """The folder above everything."""
        kind, object_id = self.references["rootFolder"]
        return kind(object_id)

    @property
    def inventory(self) -> ObjectInventory:
        """The inventory as it was answered last."""
        if self._inventory is None:
            raise RuntimeError("the lab has not been asked yet")
        return self._inventory

    async def refresh(self) -> ObjectInventory:
        """The inventory as it is now. A vCenter that has started again has no sessions."""
        snapshot = await self.watch.now()
        if self._inventory is None or self._inventory.snapshot is not snapshot:
            self._inventory = self.make_inventory(snapshot)
        if self._boot and snapshot.boot != self._boot:
            self.sessions.end_all()
        self._boot = snapshot.boot
        return self._inventory

    def make_inventory(self, snapshot: InventorySnapshot) -> ObjectInventory:
        """The inventory of a snapshot."""
        return ObjectInventory(snapshot, self.lab)

    def about(self) -> Any:
        """What this server says of itself."""
        return about(self)

    def find_more(self, object_id: str) -> Managed | None:
        """An object that is neither of a session nor in the tree of the inventory."""
        inventory = self.inventory
        if object_id.startswith("task-"):
            row = next((t for t in inventory.snapshot.tasks if t.task == object_id), None)
            return PastTask(inventory, row) if row else None
        if object_id.startswith("alarm-"):
            try:
                return AlarmDefinition(object_id)
            except vmodl.fault.ManagedObjectNotFound:
                return None
        return find_for_vcenter(inventory, object_id)

    async def look_again(self) -> None:
        """The lab has been changed by others than clients: see to ports at once."""
        self.watch.forget()
        for look in self.looks:
            await look()

    async def is_on(self) -> bool:
        """Whether vCenter runs; not while the lab does not answer."""
        try:
            node = await self.watch.find_vcenter()
        except KeysteadError:
            return False
        return node is not None and node.state is MachineState.RUNNING

    async def find_version(self) -> None:
        """Offer the version of the API that vCenter's release has, unless another one is wished."""
        node = await self.watch.find_vcenter()
        if self._follows_release and node is not None and node.version:
            self.api_version = api_version(release_of(node.version))

    async def refusal(self, error: KeysteadError, entity: Any = None) -> Any:
        """The fault of a refusal. A vCenter that is off has none: its connections are dropped."""
        if not await self.is_on():
            await self.when_off()
        return self.fault_of(error, entity)

    def fault_of(self, error: KeysteadError, entity: Any = None) -> Any:
        """The fault of a refusal of something that was asked of ``entity``, a reference."""
        known = self._inventory.objects.get(entity._moId) if entity and self._inventory else None
        row = getattr(known, "row", None)
        power = row.power.value if isinstance(row, answers.Vm) else ""
        return fault_of(error, entity, power)

    async def _end_sessions(self) -> None:
        self.sessions.end_all()

    def clock(self) -> datetime:
        """The time of the lab, which its tasks and events have too."""
        return self.watch.time

    @property
    def users(self) -> tuple[answers.User, ...]:
        """Users of the lab, with their roles."""
        return self.inventory.snapshot.users

    @property
    def roles(self) -> tuple[answers.PermissionRole, ...]:
        """Roles of the lab."""
        return self.inventory.snapshot.roles

    def privileges_of(self, user: str) -> frozenset[Privilege]:
        """What a user may do."""
        if user == self.administrator:
            return _EVERYTHING
        role = next((u.role for u in self.users if u.user == user), "")
        return frozenset(next((r.privileges for r in self.roles if r.role == role), ()))

    async def log_in(self, user: str, password: str, agent: str, address: str) -> ApiSession:
        """Open a session for a user of the lab; ``InvalidLogin`` comes late, ever later.

        ``NoPermission`` for a user without a role.
        """
        await self.refresh()
        known = user == self.administrator or any(u.user == user for u in self.users)
        right = hmac.compare_digest(password.encode(), self._password.encode())
        if not (known and right):
            await asyncio.sleep(self.sessions.delay_after_failure(user))
            raise vim.fault.InvalidLogin(msg="Cannot complete login: incorrect user or password")
        if Privilege.VIEW not in self.privileges_of(user):
            raise no_permission(self.root, Privilege.VIEW)
        session = self.sessions.open(user, agent, address)
        if session is None:
            raise vmodl.fault.SystemError(reason="sessions", msg="there are too many sessions")
        return session

    def note_call(self, user: str, method: str, ref: Any, fault: str) -> None:
        """Keep that a call was answered."""
        self._calls += 1
        at = self.clock().timestamp()
        made = ServedCall(self._calls, at, user, self.vcenter_name, method, str(ref._moId), fault)
        self.calls.append(made)

    def keep(self, work: Awaitable[None]) -> None:
        """Do something beside the requests; the server ends it when it ends."""
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """End sessions and what runs beside."""
        self.sessions.end_all()
        await self.watch.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class ApiCall:
    """One call: by which session, of which object, with what."""

    def __init__(
        self, server: ApiServer, session: ApiSession | None, agent: str = "", address: str = ""
    ) -> None:
        self.server, self.session_or_none = server, session
        self.agent, self.address = agent[:200], address
        self.opened: ApiSession | None = None
        self.ended = False

    @property
    def session(self) -> ApiSession:
        """The session of the caller; ``NotAuthenticated`` without one."""
        if self.session_or_none is None or self.session_or_none.closed:
            raise vim.fault.NotAuthenticated(
                object=self.server.root, privilegeId="System.View",
                msg="The session is not authenticated.",
            )  # fmt: skip
        return self.session_or_none

    @property
    def inventory(self) -> ObjectInventory:
        """The inventory as of this call."""
        return self.server.inventory

    @property
    def virtual(self) -> bool:
        """Whether time passes only while somebody waits."""
        return self.server.executor.virtual

    # ---- the lab

    async def refresh(self) -> None:
        """Look at the lab again, if that is due."""
        await self.server.refresh()
        self.server.sessions.find(self.session.token)  # it is in use
        _ = self.session

    def mark(self) -> int:
        """Grows when something that a filter may show has changed."""
        return hash((self.inventory.snapshot.revision, self._list_tasks()))

    def _list_tasks(self) -> tuple[str, ...]:
        held = self.session.held.values()
        return tuple(f"{t.id}{t.info.state}" for t in held if isinstance(t, ApiTask))

    async def pause(self, seconds: float, tries: int) -> float:
        """Let some time pass for a client that waits; how much."""
        return await self.server.watch.pause(seconds, tries)

    async def do(self, command: Command[Any]) -> Any:
        """Give a command to the lab as the user of this session."""
        answer = await self.server.watch.do(command, self.session.user)
        await self.server.refresh()
        return answer

    async def ask(self, command: Command[Any]) -> Any:
        """Give a command that changes nothing."""
        return await self.server.watch.ask(command, self.session.user)

    def may(self, privilege: Privilege) -> bool:
        """Whether the user of this session has a privilege."""
        return privilege in self.server.privileges_of(self.session.user)

    async def require(self, privilege: Privilege, shown: str = "", ref: Any = None) -> None:
        """``NoPermission`` on ``ref``, else the root folder, without a privilege."""
        if not self.may(privilege):
            raise no_permission(ref or self.server.root, shown or privilege)

    # ---- objects

    def hold(self, thing: Any) -> Any:
        """Keep an object for as long as the session lives, and give it back."""
        held = self.session.held
        if len(held) >= HELD_LIMIT:
            ended = next(
                (
                    k
                    for k, t in held.items()
                    if isinstance(t, ApiTask) and t.info.state != "running"
                ),
                None,
            )
            if ended is None:
                raise vmodl.fault.SystemError(
                    reason="limit", msg=f"a session holds {HELD_LIMIT} objects at most"
                )
            del held[ended]
        held[thing.id] = thing
        return thing

    def find(self, ref: Any) -> Managed:
        """The object of a reference; ``ManagedObjectNotFound`` where there is none."""
        found = self.look_up(ref)
        if found is None:
            raise not_found(type(ref), str(ref._moId))
        return found

    def look_up(self, ref: Any) -> Managed | None:
        """The object of a reference, None where there is none of that id and type."""
        found = self._by_id(str(ref._moId))
        if found is None or not issubclass(found.kind, type(ref)):
            return None
        return found

    def _by_id(self, object_id: str) -> Managed | None:
        server = self.server
        singleton = server.singletons.get(object_id)
        if singleton is not None:
            return singleton(server, self.session_or_none)
        session = self.session
        if object_id == server.references["propertyCollector"][1]:
            if object_id not in session.held:
                session.held[object_id] = PropertyCollector(object_id)
            made: Managed = session.held[object_id]
            return made
        if object_id in session.held:
            held: Managed = session.held[object_id]
            return held
        inventory = self.inventory
        found = inventory.objects.get(object_id)
        if found is not None:
            return found
        return server.find_more(object_id)

    # ---- calls

    async def call(self, ref: Any, name: str, arguments: dict[str, Any]) -> Any:
        """Do a method of an object; every failure is a fault of the product."""
        fault = ""
        try:
            return await self._call(ref, name, arguments)
        except Exception as error:
            fault = type(error).__name__
            raise
        finally:
            session = self.session_or_none or self.opened
            self.server.note_call(session.user if session else "", name, ref, fault)

    async def _call(self, ref: Any, name: str, arguments: dict[str, Any]) -> Any:
        if name not in _OPEN and not (name == "Fetch" and ref._moId == "ServiceInstance"):
            _ = self.session
        try:
            if ref._moId not in _STILL:
                await self.server.refresh()
                await self.require(Privilege.READ, ref=ref)
            thing = self.find(ref)
            if name == "Fetch":
                if (guard := thing.guard(arguments["prop"])) is not None:
                    await self.require(guard, ref=ref)
                await thing.refresh(self)
                return thing.get(arguments["prop"])
            if name not in thing.operations:
                raise not_served(name, ref)
            return await getattr(thing, name)(self, **arguments)
        except KeysteadError as error:
            raise await self.server.refusal(error, ref) from None

    async def start(self, entity: Any, name: str, work: Work, beside: bool = False) -> Any:
        """Do something as a task, and give its reference.

        With a lab of real processes it runs beside; a simulated lab has done it when this returns,
        since its time passes only while a request waits. With ``beside`` it runs beside there too.
        """
        user, server = self.session.user, self.server
        named = entity if hasattr(entity, "inventory") and hasattr(entity, "name") else None
        task = ApiTask(self.session.fresh_id("task"), named, name, user, server.clock())
        self.hold(task)

        async def do(command: Command[Any]) -> Any:
            return await server.watch.do(command, user)

        async def run() -> None:
            result = error = None
            try:
                result = await work(do)
            except KeysteadError as refused:
                error = server.fault_of(refused, entity.ref)
            except vmodl.MethodFault as fault:
                error = fault
            except Exception as defect:
                _log.exception("task %s", name)
                error = vmodl.fault.SystemError(reason=type(defect).__name__, msg=str(defect))
            task.end(server.clock(), result, error)
            server.watch.wake()

        if self.virtual and not beside:
            await run()
            await server.refresh()
        else:
            server.keep(run())
        return task.ref


ApiServer.singletons = {
    "ServiceInstance": lambda s, _: ServiceInstance(s),
    "SessionManager": SessionManager,
    "AuthorizationManager": lambda s, _: AuthorizationManager(s),
    "VpxSettings": lambda s, _: OptionManager(s),
    "SearchIndex": lambda s, _: SearchIndex("SearchIndex"),
    "ViewManager": lambda s, _: ViewManager("ViewManager"),
    "EventManager": lambda s, _: EventManager("EventManager"),
    "TaskManager": lambda s, _: TaskManager("TaskManager", s.inventory),
    "AlarmManager": lambda s, _: AlarmManager(s.inventory),
    "CryptoManager": lambda s, _: CryptoManagerKmip("CryptoManager", s.inventory),
    "CustomFieldsManager": lambda s, _: CustomFieldsManager("CustomFieldsManager"),
    "LicenseManager": lambda s, _: LicenseManager("LicenseManager"),
    "ExtensionManager": lambda s, _: ExtensionManager("ExtensionManager"),
    **managed.singletons(of_host=False),
}
