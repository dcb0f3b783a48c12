"""The vCenter appliance: backup, restore, reinstallation; its roles, and the users who have them
(PRIV-01).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.base import Command, Look, check_names, doc, wrong
from protocol import names
from protocol.authorization import Privilege

if TYPE_CHECKING:
    from lab.schema.answers import HostPowerList, RoleList, UserList, VcenterCopy


class _OfBackup(Command["VcenterCopy"], frozen=True):
    backup: str

    def __post_init__(self) -> None:
        if not self.backup:
            raise wrong("the name of the backup is empty")
        check_names(names.BACKUP, self.backup)


class VcenterBackup(_OfBackup, frozen=True, tag="vcenter.backup"):
    """Back up vCenter; it is stopped for the backup and started again.

    keystead vcenter backup before-the-change
    keystead vcenter backup nightly --vcenter vcenter-b

    A file-based backup [NKP-08]. A backup of the same name is replaced.
    """

    def message(self, answer: VcenterCopy) -> str:
        return f"backup {answer.backup} of {answer.vcenter}"


class VcenterRestore(_OfBackup, frozen=True, tag="vcenter.restore"):
    """Restore vCenter from a backup; later changes are lost.

    keystead vcenter restore before-the-change
    keystead vcenter restore nightly --vcenter vcenter-b

    A powered-off vCenter stays off. KS-USE-002 when there is no such backup.
    """

    def message(self, answer: VcenterCopy) -> str:
        return f"restored {answer.backup} to {answer.vcenter}"


class VcenterRebuild(Command["HostPowerList"], frozen=True, tag="vcenter.rebuild"):
    """Reinstall vCenter: its inventory and its key providers are lost.

    keystead vcenter rebuild
    keystead vcenter rebuild --vcenter vcenter-b

    Add them again with ``HostAdd``, with ``ProviderAdd`` under the same name [LOCK-06], and with
    ``ProviderImport`` of a backup [NKP-04].
    """


class GetRoles(Look["RoleList"], frozen=True, tag="get.roles"):
    """Roles of vCenter with the privileges that each has and lacks.

    keystead get roles
    keystead get roles NoCryptoAdmin -o json
    """


class GetUsers(Look["UserList"], frozen=True, tag="get.users"):
    """Users of vCenter and their roles.

    keystead get users
    keystead get users -o json
    """


class _Role(Command["RoleList"], frozen=True):
    role: str
    like: Annotated[
        str, doc("Role to start from. Default: no privileges, or the role itself in an update.")
    ] = ""
    add: Annotated[
        tuple[Privilege, ...],
        doc("Privilege to add; can be repeated.", name="--with", reads="privileges"),
    ] = ()
    without: Annotated[
        tuple[Privilege, ...],
        doc("Privilege to remove; can be repeated.", reads="privileges"),
    ] = ()

    def __post_init__(self) -> None:
        if not self.role:
            raise wrong("the name of the role is empty")
        check_names(names.ROLE, self.role, self.like)


class RoleCreate(_Role, frozen=True, tag="role.create"):
    """Create a role, from another role with privileges added or removed.

    keystead role create no-host --like Admin --without Cryptographer.RegisterHost
    keystead role create cloner --like NoCryptoAdmin --with Cryptographer.Clone

    AddAuthorizationRole. KS-PRODUCT-001 if the name exists.
    """


class RoleUpdate(_Role, frozen=True, tag="role.update"):
    """Change the privileges of a role; the change applies at once to all its users.

    keystead role update no-host --with Cryptographer.RegisterHost
    keystead role update no-host --like ReadOnly

    UpdateAuthorizationRole.
    """


class RoleDelete(Command["RoleList"], frozen=True, tag="role.delete"):
    """Delete a role that is not in use.

    keystead role delete no-host
    keystead role delete no-host -o json

    RemoveAuthorizationRole. KS-PRODUCT-001 while a user has the role.
    """

    role: str

    def __post_init__(self) -> None:
        check_names(names.ROLE, self.role)


class UserSet(Command["UserList"], frozen=True, tag="user.set"):
    """Assign a role to a user; it replaces the user's earlier role.

    keystead user set alice@vsphere.local --role NoCryptoAdmin
    keystead user set bob --role no-host

    SetEntityPermissions. The option --user of other commands runs their tasks as that user.
    """

    user: str
    role: Annotated[
        str, doc("Admin, NoCryptoAdmin, ReadOnly, or a role of your own.", name="--role")
    ]

    def __post_init__(self) -> None:
        if not self.user or not self.role:
            raise wrong("the name of the user or of the role is empty")
        check_names(names.PRINCIPAL, self.user)
        check_names(names.ROLE, self.role)


class UserDelete(Command["UserList"], frozen=True, tag="user.delete"):
    """Remove a user's role; the user then has no privileges.

    keystead user delete alice@vsphere.local
    keystead user delete alice@vsphere.local -o json

    RemoveEntityPermission.
    """

    user: str

    def __post_init__(self) -> None:
        check_names(names.PRINCIPAL, self.user)
