"""Roles of a vCenter, and users who have them [PRIV-01]."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lab.schema.commands.base import Command, check_names, wrong
from protocol import names
from protocol.authorization import Privilege

if TYPE_CHECKING:
    from lab.schema.answers import RoleList, UserList


class GetRoles(Command["RoleList"], frozen=True, tag="get.roles"):
    """Roles with their privileges."""


class GetUsers(Command["UserList"], frozen=True, tag="get.users"):
    """Users with their roles."""


class _Role(Command["RoleList"], frozen=True):
    """``like``: the role that it begins with (empty: none); ``add`` and ``without``: what it has
    more, and has not."""

    role: str
    like: str = ""
    add: tuple[Privilege, ...] = ()
    without: tuple[Privilege, ...] = ()

    def __post_init__(self) -> None:
        if not self.role:
            raise wrong("a role has a name")
        check_names(names.ROLE, self.role, self.like)


class RoleCreate(_Role, frozen=True, tag="role.create"):
    """AddAuthorizationRole; KS-PRODUCT-001 for a name that is taken."""


class RoleUpdate(_Role, frozen=True, tag="role.update"):
    """UpdateAuthorizationRole: what it has from now on; without ``like`` it begins with itself."""


class RoleDelete(Command["RoleList"], frozen=True, tag="role.delete"):
    """RemoveAuthorizationRole; KS-PRODUCT-001 while a user has it."""

    role: str

    def __post_init__(self) -> None:
        check_names(names.ROLE, self.role)


class UserSet(Command["UserList"], frozen=True, tag="user.set"):
    """SetEntityPermissions: ``user`` has ``role`` from now on."""

    user: str
    role: str

    def __post_init__(self) -> None:
        if not self.user or not self.role:
            raise wrong("a user and a role have names")
        check_names(names.PRINCIPAL, self.user)
        check_names(names.ROLE, self.role)


class UserDelete(Command["UserList"], frozen=True, tag="user.delete"):
    """RemoveEntityPermission: ``user`` has no role any more, and may do nothing."""

    user: str

    def __post_init__(self) -> None:
        check_names(names.PRINCIPAL, self.user)
