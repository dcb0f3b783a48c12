"""Roles of a vCenter, and who has them."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer
from protocol.authorization import Privilege


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A role; ``system``: vCenter came with it. ``without``: the privileges that it lacks."""

    role: str
    system: bool
    privileges: tuple[Privilege, ...]
    without: tuple[Privilege, ...]


class RoleList(Answer, frozen=True, kw_only=True):
    """Roles, those that vCenter came with first."""

    items: tuple[Role, ...]


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A user, and its role (empty: none). ``trusted_admin``: a member of TrustedAdmins too."""

    user: str
    role: str
    trusted_admin: bool = False


class UserList(Answer, frozen=True, kw_only=True):
    """Users by name."""

    items: tuple[User, ...]
