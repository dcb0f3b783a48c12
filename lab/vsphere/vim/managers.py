"""``ServiceInstance`` and the managers that need no file of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import commands as c
from lab.vsphere import bare
from lab.vsphere.faults import invalid_argument
from lab.vsphere.request import ApiRequest
from lab.vsphere.sessions import ApiSession
from lab.vsphere.vim.alarms import ALARMS, alarm_ref
from lab.vsphere.vim.history import when
from lab.vsphere.vim.managed import Managed, operation
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
    **bare.references(of_host=False),
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
