"""vCenter's handlers and tasks for roles, and for who has them.

They run in one turn of their own; each is one transaction.
"""

from __future__ import annotations

from typing import Any, Final

from protocol import names
from protocol.authorization import ADMINISTRATOR, Privilege
from protocol.errors import AlreadyExists, InvalidArgument, NotFound, ResourceInUse
from protocol.messages.host.session import Done
from protocol.messages.vcenter.inventory import (
    AddAuthorizationRole,
    AuthorizationRole,
    AuthorizationState,
    Permission,
    QueryAuthorization,
    RemoveAuthorizationRole,
    RemoveEntityPermission,
    SetEntityPermissions,
    UpdateAuthorizationRole,
)
from services.runtime.service import Peer, serves
from services.vcenter.authorization.privileges import (
    ADMIN,
    ALWAYS,
    SYSTEM_ROLES,
    TaskCaller,
    privileges_of,
)
from services.vcenter.inventory import drop, put
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tables import DatabaseTable, PermissionRow, RoleRow
from services.vcenter.vcenter import VCenter

ROLES_LIMIT: Final = 100
PERMISSIONS_LIMIT: Final = 1000
"""Custom roles and users at most: one answer holds them with all their privileges."""


def _whole(privileges: tuple[Privilege, ...]) -> tuple[Privilege, ...]:
    """These privileges and those of every role, each once, in one order."""
    wanted = {*ALWAYS, *privileges}
    return tuple(one for one in Privilege if one in wanted)


def _check_own(role: str) -> None:
    if role in SYSTEM_ROLES:
        raise InvalidArgument(f"role: {role} is a role that vCenter comes with; it does not change")


async def add_role(vc: VCenter, message: AddAuthorizationRole) -> Done:
    """See ``AddAuthorizationRole``."""
    names.ROLE.check(message.role)
    row = RoleRow(name=message.role, privileges=_whole(message.privileges))
    known = vc.inventory.roles.get(row.name)
    if row.name in SYSTEM_ROLES or (known is not None and known != row):
        raise AlreadyExists(f"there is a role {row.name} already, with other privileges")
    if known is None and len(vc.inventory.roles) >= ROLES_LIMIT:
        raise InvalidArgument(f"role: there are {ROLES_LIMIT} already, and no more fit")
    await vc.inventory.commit(put(DatabaseTable.ROLE, row.name, row))
    return Done()


async def update_role(vc: VCenter, message: UpdateAuthorizationRole, by: TaskCaller) -> Done:
    """See ``UpdateAuthorizationRole``."""
    _check_own(message.role)
    known = vc.inventory.roles.get(message.role)
    if known is None:
        raise NotFound(f"there is no role {message.role}")
    changed = {*known.privileges}.symmetric_difference(_whole(message.privileges))
    by.check_gives(_whole(tuple(changed)), "UpdateAuthorizationRole")
    row = RoleRow(name=message.role, privileges=_whole(message.privileges))
    await vc.inventory.commit(put(DatabaseTable.ROLE, row.name, row))
    return Done()


async def remove_role(vc: VCenter, message: RemoveAuthorizationRole) -> Done:
    """See ``RemoveAuthorizationRole``."""
    _check_own(message.role)
    users = [row.name for row in vc.inventory.permissions.values() if row.role == message.role]
    if users:
        raise ResourceInUse(f"{message.role} is the role of {', '.join(sorted(users)[:5])}")
    await vc.inventory.commit(drop(DatabaseTable.ROLE, message.role))
    return Done()


async def set_permission(vc: VCenter, message: SetEntityPermissions, by: TaskCaller) -> Done:
    """See ``SetEntityPermissions``."""
    names.PRINCIPAL.check(message.principal)
    _check_may_change(message.principal)
    if message.role not in SYSTEM_ROLES and message.role not in vc.inventory.roles:
        raise NotFound(f"there is no role {message.role}")
    by.check_gives(privileges_of(message.role, vc.inventory.roles), "SetEntityPermissions")
    known = message.principal in vc.inventory.permissions
    if not known and len(vc.inventory.permissions) >= PERMISSIONS_LIMIT:
        raise InvalidArgument(f"principal: there are {PERMISSIONS_LIMIT} already, no more fit")
    row = PermissionRow(name=message.principal, role=message.role)
    await vc.inventory.commit(put(DatabaseTable.PERMISSION, row.name, row))
    return Done()


async def remove_permission(vc: VCenter, message: RemoveEntityPermission) -> Done:
    """See ``RemoveEntityPermission``."""
    _check_may_change(message.principal)
    await vc.inventory.commit(drop(DatabaseTable.PERMISSION, message.principal))
    return Done()


def _check_may_change(principal: str) -> None:
    if principal == ADMINISTRATOR:
        raise InvalidArgument(f"principal: {ADMINISTRATOR} keeps the role {ADMIN}")


def state(vc: VCenter) -> AuthorizationState:
    """See ``QueryAuthorization``."""
    own = {row.name: row.privileges for row in vc.inventory.roles.values()}
    admins = vc.trust.row.admins
    roles = {
        ADMINISTRATOR: ADMIN,
        **{row.name: row.role for row in vc.inventory.permissions.values()},
    }
    roles |= {name: "" for name in admins if name not in roles}
    return AuthorizationState(
        roles=tuple(
            AuthorizationRole(role=name, system=name in SYSTEM_ROLES, privileges=privileges)
            for name, privileges in {**SYSTEM_ROLES, **dict(sorted(own.items()))}.items()
        ),
        permissions=tuple(
            Permission(principal=name, role=role, trusted_admin=name in admins)
            for name, role in sorted(roles.items())
        ),
    )


def _roles(message: Any) -> str:
    return "roles"


class AuthorizationHandlers(ProviderHandlers):
    """See the module's text."""

    @serves(AddAuthorizationRole, turn=_roles)
    async def add_role(self, message: AddAuthorizationRole, peer: Peer) -> Done:
        work = add_role(self.vcenter, message)
        return await self.task(peer, message.role, message, work)

    @serves(UpdateAuthorizationRole, turn=_roles)
    async def update_role(self, message: UpdateAuthorizationRole, peer: Peer) -> Done:
        work = update_role(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.role, message, work)

    @serves(RemoveAuthorizationRole, turn=_roles)
    async def remove_role(self, message: RemoveAuthorizationRole, peer: Peer) -> Done:
        work = remove_role(self.vcenter, message)
        return await self.task(peer, message.role, message, work)

    @serves(SetEntityPermissions, turn=_roles)
    async def set_permission(self, message: SetEntityPermissions, peer: Peer) -> Done:
        work = set_permission(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.principal, message, work)

    @serves(RemoveEntityPermission, turn=_roles)
    async def remove_permission(self, message: RemoveEntityPermission, peer: Peer) -> Done:
        work = remove_permission(self.vcenter, message)
        return await self.task(peer, message.principal, message, work)

    @serves(QueryAuthorization)
    async def query_authorization(
        self, message: QueryAuthorization, peer: Peer
    ) -> AuthorizationState:
        return state(self.vcenter)
