"""Roles and who has them (vim25 AuthorizationManager). A permission is for all of a vCenter."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from protocol.authorization import Privilege
from protocol.messages.base import Repeat, Reply, Request
from protocol.messages.host import Done


class AddAuthorizationRole(Request[Done], frozen=True, kw_only=True):
    """A role with these privileges, and those that every role has.

    ``AlreadyExists`` for a role that has others; ``InvalidArgument`` beyond 100 roles.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    role: str
    privileges: tuple[Privilege, ...]


class UpdateAuthorizationRole(Request[Done], frozen=True, kw_only=True):
    """The role has these privileges from now on. ``NotFound``; ``InvalidArgument`` for a role that
    vCenter comes with; ``NoPermission`` for a change by what the caller does not have."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    role: str
    privileges: tuple[Privilege, ...]


class RemoveAuthorizationRole(Request[Done], frozen=True, kw_only=True):
    """``ResourceInUse`` while a user has it; ``InvalidArgument`` for one that vCenter comes
    with."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    role: str


class SetEntityPermissions(Request[Done], frozen=True, kw_only=True):
    """``principal`` has that role from now on. ``NotFound`` for no role, ``InvalidArgument`` for
    the administrator, who keeps the role Admin; ``NoPermission`` for a role with privileges that
    the caller does not have."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    principal: str
    role: str


class RemoveEntityPermission(Request[Done], frozen=True, kw_only=True):
    """``principal`` has no role any more, so it may do nothing."""

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    principal: str


class QueryAuthorization(Request["AuthorizationState"], frozen=True, kw_only=True):
    """AuthorizationManager.roleList, and RetrieveAllPermissions."""


class AuthorizationRole(msgspec.Struct, frozen=True, kw_only=True):
    """``system``: vCenter came with it, so it does not change."""

    role: str
    system: bool
    privileges: tuple[Privilege, ...]


class Permission(msgspec.Struct, frozen=True, kw_only=True):
    """``trusted_admin``: it is in TrustedAdmins too (TA-04); ``role`` is empty when it has none."""

    principal: str
    role: str
    trusted_admin: bool = False


class AuthorizationState(Reply, frozen=True, kw_only=True):
    """Roles, those that vCenter came with first; permissions by name of the principal."""

    roles: tuple[AuthorizationRole, ...]
    permissions: tuple[Permission, ...]
