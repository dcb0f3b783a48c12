"""``ServiceInstance``, the managers that need no file of their own, and ``AuthorizationManager``:
roles of the lab, and who has them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import commands as c
from lab.vsphere.faults import invalid_argument
from lab.vsphere.request import ApiRequest, ApiSession
from lab.vsphere.vim import managed
from lab.vsphere.vim.alarms import ALARMS, alarm_ref
from lab.vsphere.vim.history import when
from lab.vsphere.vim.managed import Managed, build, numbers, operation
from protocol.authorization import Privilege

REFERENCES: Mapping[str, tuple[Any, str]] = {
    "rootFolder": (vim.Folder, "group-d1"),
    "propertyCollector": (vmodl.query.PropertyCollector, "propertyCollector"),
    "viewManager": (vim.view.ViewManager, "ViewManager"),
    "sessionManager": (vim.SessionManager, "SessionManager"),
    "authorizationManager": (vim.AuthorizationManager, "AuthorizationManager"),
    "eventManager": (vim.event.EventManager, "EventManager"),
    "taskManager": (vim.TaskManager, "TaskManager"),
    "searchIndex": (vim.SearchIndex, "SearchIndex"),
    "alarmManager": (vim.alarm.AlarmManager, "AlarmManager"),
    "cryptoManager": (vim.encryption.CryptoManagerKmip, "CryptoManager"),
    "setting": (vim.option.OptionManager, "VpxSettings"),
    "customFieldsManager": (vim.CustomFieldsManager, "CustomFieldsManager"),
    "licenseManager": (vim.LicenseManager, "LicenseManager"),
    "extensionManager": (vim.ExtensionManager, "ExtensionManager"),
    **managed.references(of_host=False),
}


def about(server: Any) -> Any:
    """What this vCenter says of itself."""
    version = ".".join(server.api_version.split(".")[:3])
    return vim.AboutInfo(
        name="VMware vCenter Server", fullName=f"VMware vCenter Server {version} build-0",
        vendor="VMware, Inc.", version=version, build="0", localeVersion="INTL",
        localeBuild="000", osType="linux-x64", productLineId="vpx", apiType="VirtualCenter",
        apiVersion=server.api_version, instanceUuid=server.instance_uuid,
        licenseProductName="VMware VirtualCenter Server",
        licenseProductVersion=version.split(".")[0] + ".0",
    )  # fmt: skip


def content(server: Any) -> Any:
    """The service content: where everything begins."""
    references = {name: kind(own) for name, (kind, own) in server.references.items()}
    return vim.ServiceInstanceContent(about=server.about(), **references)


class ServiceInstance(Managed):
    """The object that every client asks first."""

    kind = vim.ServiceInstance
    properties = {
        "content": lambda s: content(s.server),
        "capability": lambda s: vim.Capability(
            provisioningSupported=True, multiHostSupported=True, userShellAccessSupported=False,
            supportedEVCMode=[], networkBackupAndRestoreSupported=False,
            ftDrsWithoutEvcSupported=False,
        ),
        "serverClock": lambda s: s.server.clock(),
    }  # fmt: skip

    def __init__(self, server: Any) -> None:
        super().__init__("ServiceInstance")
        self.server = server

    @operation
    async def RetrieveServiceContent(self, request: ApiRequest) -> Any:
        """The service content."""
        return content(self.server)

    @operation
    async def CurrentTime(self, request: ApiRequest) -> Any:
        """The time of the lab."""
        if request.virtual:
            await self.server.refresh()
        return self.server.clock()


def user_session(session: ApiSession) -> Any:
    """A session as the product shows it."""
    return vim.UserSession(
        key=session.key, userName=session.user, fullName=session.user,
        loginTime=when(session.login_time), lastActiveTime=when(session.last_active), locale="en",
        messageLocale="en", extensionSession=False, ipAddress=session.address,
        userAgent=session.agent, callCount=session.calls,
    )  # fmt: skip


class SessionManager(Managed):
    """Logins."""

    kind = vim.SessionManager
    properties = {
        "sessionList": lambda m: [user_session(s) for s in m.visible()],
        "currentSession": lambda m: user_session(m.session) if m.session else None,
        "defaultLocale": lambda m: "en",
        "supportedLocaleList": lambda m: ["en"],
        "messageLocaleList": lambda m: ["en"],
        "message": lambda m: "",
    }

    def __init__(self, server: Any, session: ApiSession | None) -> None:
        super().__init__(server.references["sessionManager"][1])
        self.server, self.session = server, session

    def visible(self) -> list[ApiSession]:
        """The sessions that this session may see: all with Sessions.TerminateSession, else its
        own."""
        if self.session is None:
            return []
        mine = self.server.privileges_of(self.session.user)
        if Privilege.MODIFY_PERMISSIONS in mine:
            return list(self.server.sessions.list())
        return [self.session]

    @operation
    async def Login(
        self, request: ApiRequest, userName: str, password: str, locale: str | None = None
    ) -> Any:
        """Open a session. A failure is answered late."""
        if request.session_or_none is not None:
            raise vim.fault.InvalidLogin(msg="this session is logged in already")
        session = await self.server.log_in(userName, password, request.agent, request.address)
        request.opened = session
        return user_session(session)

    @operation
    async def Logout(self, request: ApiRequest) -> None:
        """End this session."""
        self.server.sessions.end(request.session)
        request.ended = True

    @operation
    async def TerminateSession(self, request: ApiRequest, sessionId: list[str]) -> None:
        """End other sessions by their keys."""
        await request.require(Privilege.MODIFY_PERMISSIONS, "Sessions.TerminateSession")
        for key in sessionId:
            found = next((s for s in self.server.sessions.list() if s.key == key), None)
            if found is None or found is request.session:
                raise vim.fault.NotFound(msg="there is no other session with this key")
            self.server.sessions.end(found)

    @operation
    async def SessionIsActive(self, request: ApiRequest, sessionID: str, userName: str) -> bool:
        """Whether a session is there."""
        sessions = self.server.sessions.list()
        return any(s.key == sessionID and s.user == userName for s in sessions)


class OptionManager(Managed):
    """Settings of vCenter, which only say which API this is."""

    kind = vim.option.OptionManager
    properties = {"setting": lambda m: m.options(), "supportedOption": lambda m: []}

    def __init__(self, server: Any) -> None:
        super().__init__("VpxSettings")
        self.server = server

    def options(self) -> list[Any]:
        """All settings."""
        values = {
            "VirtualCenter.InstanceName": self.server.lab,
            "VirtualCenter.FQDN": self.server.vcenter_name,
            "config.vpxd.hostnameUrl": self.server.vcenter_name,
            "instance.id": 1,
        }
        return [vim.option.OptionValue(key=k, value=v) for k, v in values.items()]

    @operation
    async def QueryOptions(self, request: ApiRequest, name: str | None = None) -> list[Any]:
        """Settings of this name, or below it when it ends with a dot."""
        wanted = name or ""
        found = [
            o
            for o in self.options()
            if not wanted or o.key == wanted or (wanted.endswith(".") and o.key.startswith(wanted))
        ]
        if not found:
            raise vim.fault.InvalidName(name=wanted, msg=f"there is no setting {wanted}")
        return found


class SearchIndex(Managed):
    """Objects by path, name or UUID."""

    kind = vim.SearchIndex

    @operation
    async def FindByInventoryPath(self, request: ApiRequest, inventoryPath: str) -> Any:
        """The object at a path such as ``dc/vm/vm-01``."""
        inventory = request.inventory
        found: Any = inventory.root
        for part in (p for p in inventoryPath.split("/") if p):
            below = inventory.children(found)
            name = part.replace("%2f", "/").replace("%2F", "/")
            found = next((t for t in below if t.name == name), None)
            if found is None:
                return None
        return found.ref

    @operation
    async def FindChild(self, request: ApiRequest, entity: Any, name: str) -> Any:
        """The child of this name."""
        inventory = request.inventory
        below = inventory.children(inventory.find(entity))
        return next((t.ref for t in below if t.name == name), None)

    def _by_uuid(self, request: ApiRequest, uuid: str, of_vms: bool, instance: Any) -> list[Any]:
        inventory = request.inventory
        if not of_vms:
            return [h.ref for h in inventory.hosts.values() if h.uuid == uuid.lower()]
        which = "instance_uuid" if instance else "uuid"
        return [v.ref for v in inventory.vms.values() if getattr(v, which) == uuid.lower()]

    @operation
    async def FindByUuid(
        self, request: ApiRequest, uuid: str, vmSearch: bool, datacenter: Any = None,
        instanceUuid: bool | None = None,
    ) -> Any:  # fmt: skip
        """The VM or host with a UUID."""
        return next(iter(self._by_uuid(request, uuid, vmSearch, instanceUuid)), None)

    @operation
    async def FindAllByUuid(
        self, request: ApiRequest, uuid: str, vmSearch: bool, datacenter: Any = None,
        instanceUuid: bool | None = None,
    ) -> list[Any]:  # fmt: skip
        """All VMs or hosts with a UUID."""
        return self._by_uuid(request, uuid, vmSearch, instanceUuid)

    @operation
    async def FindByDnsName(
        self, request: ApiRequest, dnsName: str, vmSearch: bool, datacenter: Any = None
    ) -> Any:
        """The host of a name. Guests of a lab have none."""
        found = None if vmSearch else request.inventory.hosts.get(dnsName)
        return found.ref if found else None

    @operation
    async def FindByIp(
        self, request: ApiRequest, ip: str, vmSearch: bool, datacenter: Any = None
    ) -> Any:
        """Nothing: neither guests nor hosts of a lab have addresses."""
        return None


class AlarmManager(Managed):
    """Alarms of vCenter."""

    kind = vim.alarm.AlarmManager
    properties = {
        "defaultExpression": lambda m: [],
    }

    def __init__(self, inventory: Any) -> None:
        super().__init__("AlarmManager")
        self.inventory = inventory

    @operation
    async def GetAlarm(self, request: ApiRequest, entity: Any = None) -> list[Any]:
        """The definitions of alarms, all of which stand at the root folder."""
        if entity is not None and request.inventory.find(entity) is not request.inventory.root:
            return []
        return [alarm_ref(name) for name in ALARMS]

    @operation
    async def GetAlarmState(self, request: ApiRequest, entity: Any) -> list[Any]:
        """The alarms of an object."""
        return list(request.inventory.find(entity).get("triggeredAlarmState"))

    @operation
    async def AcknowledgeAlarm(self, request: ApiRequest, alarm: Any, entity: Any) -> None:
        """Acknowledge an alarm of a host."""
        thing: Any = request.inventory.find(entity)
        names = [
            a.alarm
            for a in self.inventory.alarms.get(thing.name, ())
            if alarm_ref(a.alarm)._moId == alarm._moId
        ]
        shown = {one.alarm._moId for one in thing.get("triggeredAlarmState")}
        if not names and alarm._moId in shown:
            raise vmodl.fault.NotSupported(msg="this alarm ends with its cause alone")
        if not names:
            raise invalid_argument("alarm", "this alarm of this object is not on")
        await request.do(c.AlarmAcknowledge(thing.name))


class CustomFieldsManager(Managed):
    """Custom fields: a lab has none."""

    kind = vim.CustomFieldsManager
    properties = {"field": lambda m: []}


class LicenseManager(Managed):
    """Licenses: a lab needs none."""

    kind = vim.LicenseManager
    properties = {"licenses": lambda m: [], "licenseAssignmentManager": lambda m: None}


class ExtensionManager(Managed):
    """Extensions: a lab has none."""

    kind = vim.ExtensionManager
    properties = {"extensionList": lambda m: []}

    @operation
    async def FindExtension(self, request: ApiRequest, extensionKey: str) -> Any:
        """Nothing."""
        return None


_FIXED = {"Admin": -1, "ReadOnly": -2, "NoAccess": -5, "NoCryptoAdmin": -6}


def _role_ids(server: Any) -> dict[str, int]:
    """Numbers of roles, which follow from their names: the same after a restart."""
    return {**numbers(r.role for r in server.roles), **_FIXED}


class AuthorizationManager(Managed):
    """Roles of the lab, and who has them."""

    kind = vim.AuthorizationManager
    properties = {
        "roleList": lambda m: [
            build(
                vim.AuthorizationManager.Role,
                roleId=m.ids[r.role], name=r.role, system=r.system,
                info=vim.Description(label=r.role, summary=r.role),
                privilege=[str(p.value) for p in r.privileges],
            )
            for r in m.server.roles
        ],
        "privilegeList": lambda m: [
            vim.AuthorizationManager.Privilege(
                privId=str(p.value), name=str(p.value).rpartition(".")[2], onParent=False,
                privGroupName=str(p.value).rpartition(".")[0],
            )
            for p in Privilege
        ],
        "description": lambda m: None,
    }  # fmt: skip

    def __init__(self, server: Any) -> None:
        super().__init__(server.references["authorizationManager"][1])
        self.server = server

    @property
    def ids(self) -> dict[str, int]:
        """Numbers of roles by their names."""
        return _role_ids(self.server)

    def _permissions(self) -> list[Any]:
        return [
            vim.AuthorizationManager.Permission(
                entity=self.server.root, principal=user.user, group=False,
                roleId=self.ids[user.role], propagate=True,
            )
            for user in self.server.users
            if user.role in self.ids
        ]  # fmt: skip

    @operation
    async def RetrieveAllPermissions(self, request: ApiRequest) -> list[Any]:
        """Who has which role: all of them on the root folder."""
        return self._permissions()

    @operation
    async def RetrieveEntityPermissions(
        self, request: ApiRequest, entity: Any, inherited: bool
    ) -> list[Any]:
        """Who has which role on an object; roles of a lab come from the root folder."""
        thing = request.inventory.find(entity)
        return self._permissions() if inherited or thing.ref == self.server.root else []

    @operation
    async def RetrieveRolePermissions(self, request: ApiRequest, roleId: int) -> list[Any]:
        """Who has a role."""
        return [p for p in self._permissions() if p.roleId == roleId]

    @operation
    async def HasPrivilegeOnEntities(
        self, request: ApiRequest, entity: Any, sessionId: str, privId: Any = ()
    ) -> list[Any]:
        """What a session may do with objects."""
        mine = {str(p) for p in self.server.privileges_of(request.session.user)}
        return [
            build(
                vim.AuthorizationManager.EntityPrivilege,
                entity=one,
                privAvailability=[
                    vim.AuthorizationManager.PrivilegeAvailability(privId=p, isGranted=p in mine)
                    for p in privId or ()
                ],
            )
            for one in entity
        ]

    # ---- roles

    def _role(self, number: int) -> str:
        """The name of a role; ``NotFound`` when there is none."""
        names = {self.ids[r.role]: r.role for r in self.server.roles}
        if number not in names:
            raise vim.fault.NotFound(msg=f"there is no role {number}")
        return str(names[number])

    @operation
    async def AddAuthorizationRole(
        self, request: ApiRequest, name: str, privIds: Iterable[str] = ()
    ) -> int:
        """Make a role."""
        if any(role.role == name for role in self.server.roles):
            raise vim.fault.AlreadyExists(name=name, msg=f"there is a role {name} already")
        await request.do(c.RoleCreate(name, add=_privileges(privIds)))
        return self.ids[name]

    @operation
    async def UpdateAuthorizationRole(
        self, request: ApiRequest, roleId: int, newName: str, privIds: Iterable[str] = ()
    ) -> None:
        """Change what a role may do; its name stays."""
        role, wanted = self._role(roleId), _privileges(privIds)
        if newName != role:
            raise vmodl.fault.NotSupported(msg="a role of a lab keeps its name")
        rest = tuple(p for p in Privilege if p not in wanted and p not in _ALWAYS)
        await request.do(c.RoleUpdate(role, add=wanted, without=rest))

    @operation
    async def RemoveAuthorizationRole(
        self, request: ApiRequest, roleId: int, failIfUsed: bool
    ) -> None:
        """Remove a role that nobody has."""
        await request.do(c.RoleDelete(self._role(roleId)))

    # ---- permissions

    def _check_root(self, entity: Any) -> None:
        if entity._moId != "group-d1":
            raise vmodl.fault.NotSupported(msg="users of a lab have roles on the root folder")

    @operation
    async def SetEntityPermissions(
        self, request: ApiRequest, entity: Any, permission: Iterable[Any] = ()
    ) -> None:
        """Give users roles, on the root folder."""
        self._check_root(entity)
        for one in permission:
            if one.group:
                raise vmodl.fault.NotSupported(msg="a lab has users, and no groups")
            await request.do(c.UserSet(one.principal, self._role(one.roleId)))

    @operation
    async def RemoveEntityPermission(
        self, request: ApiRequest, entity: Any, user: str, isGroup: bool
    ) -> None:
        """Take a user's role away."""
        self._check_root(entity)
        await request.do(c.UserDelete(user))


_ALWAYS = (Privilege.VIEW, Privilege.READ)
_KNOWN = {str(p.value): p for p in Privilege}


def _privileges(names: Iterable[str]) -> tuple[Privilege, ...]:
    """Privileges by their ids; ``InvalidArgument`` for one that a lab does not have."""
    unknown = [n for n in names if n not in _KNOWN and not n.startswith("System.")]
    if unknown:
        raise invalid_argument("privIds", f"a lab has no privilege {', '.join(unknown)}")
    return tuple(_KNOWN[n] for n in names if n in _KNOWN)


class HostAuthorizationManager(AuthorizationManager):
    """The one role of a host and its one user, which cannot be changed."""


HostAuthorizationManager.operations = frozenset(
    {
        "RetrieveAllPermissions", "RetrieveEntityPermissions", "RetrieveRolePermissions",
        "HasPrivilegeOnEntities",
    }
)  # fmt: skip
