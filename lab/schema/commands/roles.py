"""Roles of a vCenter, and users who have them [PRIV-01]."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import doc
from lab.schema.commands.base import Command, Look, check_names, wrong
from protocol import names
from protocol.authorization import Privilege

if TYPE_CHECKING:
    from lab.schema.answers import RoleList, UserList


class GetRoles(Look["RoleList"], frozen=True, tag="get.roles"):
    """Roles of vCenter: what each may do, and what it lacks.

    keystead get roles
    keystead get roles NoCryptoAdmin -o json
    """


class GetUsers(Look["UserList"], frozen=True, tag="get.users"):
    """Users of vCenter, and their roles.

    keystead get users
    keystead get users -o json
    """


class _Role(Command["RoleList"], frozen=True):
    role: str
    like: Annotated[str, doc("The role that it begins with; left out: none, or itself.")] = ""
    add: Annotated[
        tuple[Privilege, ...],
        doc("A privilege that it has more; repeat it.", name="--with", reads="privileges"),
    ] = ()
    without: Annotated[
        tuple[Privilege, ...],
        doc("A privilege that it has not; repeat it.", reads="privileges"),
    ] = ()

    def __post_init__(self) -> None:
        if not self.role:
            raise wrong("a role has a name")
        check_names(names.ROLE, self.role, self.like)


class RoleCreate(_Role, frozen=True, tag="role.create"):
    """Make a role: that of another one, with some privileges more or less.

    keystead role create no-host --like Admin --without Cryptographer.RegisterHost
    keystead role create cloner --like NoCryptoAdmin --with Cryptographer.Clone

    AddAuthorizationRole; KS-PRODUCT-001 for a name that is taken.
    """


class RoleUpdate(_Role, frozen=True, tag="role.update"):
    """Change what a role may do, for all who have it; at once.

    keystead role update no-host --with Cryptographer.RegisterHost
    keystead role update no-host --like ReadOnly

    UpdateAuthorizationRole.
    """


class RoleDelete(Command["RoleList"], frozen=True, tag="role.delete"):
    """Delete a role that no user has.

    keystead role delete no-host
    keystead role delete no-host -o json

    RemoveAuthorizationRole; KS-PRODUCT-001 while a user has it.
    """

    role: str

    def __post_init__(self) -> None:
        check_names(names.ROLE, self.role)


class UserSet(Command["UserList"], frozen=True, tag="user.set"):
    """Give a user a role, in place of the one that it had. Tasks are given with --user.

    keystead user set alice@vsphere.local --role NoCryptoAdmin
    keystead user set bob --role no-host

    SetEntityPermissions.
    """

    user: str
    role: Annotated[
        str, doc("Admin, NoCryptoAdmin, ReadOnly, or one that was made.", name="--role")
    ]

    def __post_init__(self) -> None:
        if not self.user or not self.role:
            raise wrong("a user and a role have names")
        check_names(names.PRINCIPAL, self.user)
        check_names(names.ROLE, self.role)


class UserDelete(Command["UserList"], frozen=True, tag="user.delete"):
    """Take a user's role away: it may do nothing any more.

    keystead user delete alice@vsphere.local
    keystead user delete alice@vsphere.local -o json

    RemoveEntityPermission.
    """

    user: str

    def __post_init__(self) -> None:
        check_names(names.PRINCIPAL, self.user)
