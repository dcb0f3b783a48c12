"""Roles and users, asked of vCenter."""

from __future__ import annotations

from lab.schema import commands
from lab.schema.answers import PermissionRole, RoleList, User, UserList
from lab.schema.errors import KeysteadError
from lab.serve.executing import executes
from lab.serve.session import LabSession
from protocol.authorization import Privilege
from protocol.messages.vcenter import (
    AddAuthorizationRole,
    AuthorizationState,
    QueryAuthorization,
    RemoveAuthorizationRole,
    RemoveEntityPermission,
    SetEntityPermissions,
    UpdateAuthorizationRole,
)


async def _state(session: LabSession) -> AuthorizationState:
    return await session.ask(session.vcenter, QueryAuthorization())


def _roles(state: AuthorizationState) -> RoleList:
    return RoleList(
        items=tuple(
            PermissionRole(
                role=role.role,
                system=role.system,
                privileges=role.privileges,
                without=tuple(one for one in Privilege if one not in role.privileges),
            )
            for role in state.roles
        )
    )


def _users(state: AuthorizationState) -> UserList:
    return UserList(
        items=tuple(
            User(user=one.principal, role=one.role, trusted_admin=one.trusted_admin)
            for one in state.permissions
        )
    )


@executes
async def roles(session: LabSession, command: commands.GetRoles) -> RoleList:
    """See ``GetRoles``."""
    return _roles(await _state(session))


@executes
async def users(session: LabSession, command: commands.GetUsers) -> UserList:
    """See ``GetUsers``."""
    return _users(await _state(session))


@executes
async def create(session: LabSession, command: commands.RoleCreate) -> RoleList:
    """See ``RoleCreate``."""
    privileges = await _privileges(session, command, command.like)
    message = AddAuthorizationRole(role=command.role, privileges=privileges)
    await session.ask(session.vcenter, message)
    return _roles(await _state(session))


@executes
async def update(session: LabSession, command: commands.RoleUpdate) -> RoleList:
    """See ``RoleUpdate``."""
    privileges = await _privileges(session, command, command.like or command.role)
    message = UpdateAuthorizationRole(role=command.role, privileges=privileges)
    await session.ask(session.vcenter, message)
    return _roles(await _state(session))


async def _privileges(
    session: LabSession, command: commands.RoleCreate | commands.RoleUpdate, like: str
) -> tuple[Privilege, ...]:
    """What the role shall have; KS-USE-002 when there is none of the name ``like``."""
    there = {role.role: role.privileges for role in (await _state(session)).roles}
    if like and like not in there:
        raise KeysteadError("KS-USE-002", f"there is no role {like}; there are {', '.join(there)}")
    wanted = {*there.get(like, ()), *command.add} - {*command.without}
    return tuple(one for one in Privilege if one in wanted)


@executes
async def delete(session: LabSession, command: commands.RoleDelete) -> RoleList:
    """See ``RoleDelete``."""
    await session.ask(session.vcenter, RemoveAuthorizationRole(role=command.role))
    return _roles(await _state(session))


@executes
async def set_user(session: LabSession, command: commands.UserSet) -> UserList:
    """See ``UserSet``."""
    message = SetEntityPermissions(principal=command.user, role=command.role)
    await session.ask(session.vcenter, message)
    return _users(await _state(session))


@executes
async def delete_user(session: LabSession, command: commands.UserDelete) -> UserList:
    """See ``UserDelete``."""
    await session.ask(session.vcenter, RemoveEntityPermission(principal=command.user))
    return _users(await _state(session))
