"""Roles of a vCenter, and who has them."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer
from lab.schema.tables import ColumnTable, field
from protocol.authorization import Privilege

_FEW = 3  # privileges that a line of a table has room for


class PermissionRole(msgspec.Struct, frozen=True, kw_only=True):
    """A role; ``system``: vCenter came with it. ``without``: the privileges that it lacks."""

    role: str
    system: bool
    privileges: tuple[Privilege, ...]
    without: tuple[Privilege, ...]

    table = ColumnTable(
        "role",
        (
            field("role"),
            field("system"),
            ("PRIVILEGES", lambda role: len(role.privileges)),
            ("LACKS", lambda role: role.describe_lack()),
        ),
        wide=(("HAS", lambda role: [str(one) for one in role.privileges]),),
    )

    def describe_lack(self) -> str:
        """What it lacks, in short: whole groups by their name and a star."""
        groups = {
            one.group: [each for each in Privilege if each.group == one.group] for one in Privilege
        }
        lacking: list[str] = []
        for group, members in groups.items():
            gone = [one for one in members if one in self.without]
            lacking += [f"{group}.*"] if len(gone) == len(members) else [str(one) for one in gone]
        more = f" and {len(lacking) - _FEW} more" if len(lacking) > _FEW else ""
        return ", ".join(lacking[:_FEW]) + more


class RoleList(Answer, frozen=True, kw_only=True):
    """Roles, those that vCenter came with first."""

    items: tuple[PermissionRole, ...]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and its role (empty: none). ``trusted_admin``: a member of TrustedAdmins too."""

    user: str
    role: str
    trusted_admin: bool = False

    table = ColumnTable(
        "user",
        (field("user"), ("ROLE", lambda user: user.role or "none"), field("trusted_admin")),
    )


class UserList(Answer, frozen=True, kw_only=True):
    """Users by name."""

    items: tuple[User, ...]
