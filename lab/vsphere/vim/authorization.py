"""``AuthorizationManager``: roles of the lab, and who has them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pyVmomi import vim, vmodl

from lab.schema import commands as c
from lab.vsphere.faults import invalid_argument
from lab.vsphere.objects import numbers
from lab.vsphere.request import ApiRequest
from lab.vsphere.vim.managed import Managed, build, operation
from protocol.authorization import Privilege

_FIXED = {"Admin": -1, "ReadOnly": -2, "NoAccess": -5, "NoCryptoAdmin": -6}


def _role_ids(server: Any) -> dict[str, int]:
    """Numbers of roles, which follow from their names: the same after a restart."""
    return numbers(r.role for r in server.roles) | _FIXED


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
            vim.AuthorizationManager.EntityPrivilege(
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
