"""Roles, and what the user of a task may do. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from protocol.authorization import ADMINISTRATOR, Privilege
from protocol.errors import NoPermission
from services.vcenter.tables import PermissionRow, RoleRow

ADMIN: Final = "Admin"
NO_CRYPTO_ADMIN: Final = "NoCryptoAdmin"
READ_ONLY: Final = "ReadOnly"

ALWAYS: Final = (Privilege.VIEW, Privilege.READ)
"""Privileges that every role has."""

_TRUSTED: Final = "TrustedAdmin"  # the privilege group of members of TrustedAdmins
_CRYPTO: Final = "Cryptographer"
_NOT_WITHOUT_CRYPTO: Final = frozenset(
    {
        Privilege.DIAGNOSTICS,
        Privilege.ADD_HOST,
        Privilege.ADD_STANDALONE_HOST,
        Privilege.MANAGE_USER_GROUPS,
    }
)
"""Privileges that NoCryptoAdmin lacks besides all of ``Cryptographer``: they would be ways around
it."""

_ADMIN: Final = tuple(one for one in Privilege if one.group != _TRUSTED)

SYSTEM_ROLES: Final[Mapping[str, tuple[Privilege, ...]]] = {
    ADMIN: _ADMIN,
    NO_CRYPTO_ADMIN: tuple(
        one for one in _ADMIN if one.group != _CRYPTO and one not in _NOT_WITHOUT_CRYPTO
    ),
    READ_ONLY: ALWAYS,
}
"""The built-in roles. ``TrustedAdmin.*`` is for members of TrustedAdmins (TA-04)."""


@dataclass(frozen=True)
class TaskCaller:
    """The user of a task, with its privileges."""

    name: str
    privileges: frozenset[Privilege]

    def may(self, privilege: Privilege) -> bool:
        """Whether the user has that privilege."""
        return privilege in self.privileges

    def check_gives(self, privileges: Iterable[Privilege], task: str) -> None:
        """``NoPermission`` when the task would grant or revoke privileges that the caller does not
        have.

        A user that may name trusted administrators counts as having their privileges.
        """
        names_them = self.may(Privilege.MODIFY_PERMISSIONS)
        given = [one for one in privileges if one.group != _TRUSTED or not names_them]
        self.check(given, f"{task} with that role")

    def check(self, needed: Iterable[Privilege], task: str) -> None:
        """``NoPermission`` with each missing privilege."""
        lacking = [one for one in needed if one not in self.privileges]
        if not lacking:
            return
        text = f"{self.name} lacks {' and '.join(lacking)}, which {task} needs"
        if any(one.group == _TRUSTED for one in lacking):
            text += f": {self.name} is no member of TrustedAdmins"
        raise NoPermission(text)


SYSTEM: Final = TaskCaller("vCenter", frozenset(Privilege))
"""vCenter itself, as the user of a task that another task creates: an evacuation moves VMs."""


def caller(
    name: str,
    roles: Mapping[str, RoleRow],
    permissions: Mapping[str, PermissionRow],
    trusted_admins: Iterable[str],
) -> TaskCaller:
    """The user of that name (empty: the administrator). A user without a role may do nothing."""
    name = name or ADMINISTRATOR
    found = permissions.get(name)
    role = ADMIN if name == ADMINISTRATOR else "" if found is None else found.role
    privileges = set(privileges_of(role, roles))
    if name in trusted_admins:
        privileges.update(one for one in Privilege if one.group == _TRUSTED)
    return TaskCaller(name, frozenset(privileges))


def privileges_of(role: str, roles: Mapping[str, RoleRow]) -> tuple[Privilege, ...]:
    """The privileges of the role; none for an unknown role."""
    if role in SYSTEM_ROLES:
        return SYSTEM_ROLES[role]
    return roles[role].privileges if role in roles else ()
