"""``get roles|users``, ``role create|update|delete``, ``user set|delete``."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from lab.cli.connect import call
from lab.cli.listing import PLAIN, Listing, View
from lab.cli.options import DEFAULTS, Options
from lab.cli.output import field, show
from lab.schema.commands import (
    GetRoles,
    GetUsers,
    RoleCreate,
    RoleDelete,
    RoleUpdate,
    UserDelete,
    UserSet,
)
from lab.schema.errors import KeysteadError
from protocol.authorization import Privilege
from protocol.printable import quote_if_needed

if TYPE_CHECKING:
    from lab.schema.answers import Role

_FEW = 3  # privileges that a line of a table has room for


def _lacks(row: Role) -> str:
    """In short: whole groups by their name and a star."""
    groups = {
        one.group: [each for each in Privilege if each.group == one.group] for one in Privilege
    }
    lacking: list[str] = []
    for group, members in groups.items():
        gone = [one for one in members if one in row.without]
        lacking += [f"{group}.*"] if len(gone) == len(members) else [str(one) for one in gone]
    more = f" and {len(lacking) - _FEW} more" if len(lacking) > _FEW else ""
    return ", ".join(lacking[:_FEW]) + more


def _parse_privileges(texts: tuple[str, ...]) -> tuple[Privilege, ...]:
    """Privileges by their ids; KS-USE-003 with the nearest one for what is none."""
    known = [str(one) for one in Privilege]
    for text in texts:
        if text not in known:
            near = difflib.get_close_matches(text[:80], known, n=1, cutoff=0.3)
            also = f"; did you mean {near[0]}?" if near else ""
            raise KeysteadError(
                "KS-USE-003", f"there is no privilege {quote_if_needed(text)}{also}"
            )
    return tuple(Privilege(text) for text in texts)


ROLES = (
    field("role"),
    ("SYSTEM", lambda r: "yes" if r.system else "no"),
    ("PRIVILEGES", lambda r: len(r.privileges)),
    ("LACKS", _lacks),
)
ROLES_WIDE = (("HAS", lambda r: [str(one) for one in r.privileges]),)
USERS = (
    field("user"),
    ("ROLE", lambda r: r.role or "none"),
    ("TRUSTED ADMIN", lambda r: "yes" if r.trusted_admin else "no"),
)

Like = Annotated[str, Parameter(help="The role that it begins with.")]
With = Annotated[
    tuple[str, ...],
    Parameter(name="--with", negative="", help="A privilege that it has more; repeat it."),
]
Without = Annotated[
    tuple[str, ...],
    Parameter(name="--without", negative="", help="A privilege that it has not; repeat it."),
]


def get_roles(*roles: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Roles of vCenter: what each may do, and what it lacks.

    keystead get roles
    keystead get roles NoCryptoAdmin -o json
    """
    Listing(ROLES, ROLES_WIDE, key="role").get(GetRoles(), roles, view, options)


def get_users(*users: str, view: View = PLAIN, options: Options = DEFAULTS) -> None:
    """Users of vCenter, and their roles.

    keystead get users
    keystead get users -o json
    """
    Listing(USERS, key="user").get(GetUsers(), users, view, options)


def create(
    role: str,
    *,
    like: Like = "",
    with_: With = (),
    without: Without = (),
    options: Options = DEFAULTS,
) -> None:
    """Make a role: that of another one, with some privileges more or less.

    keystead role create no-host --like Admin --without Cryptographer.RegisterHost
    keystead role create cloner --like NoCryptoAdmin --with Cryptographer.Clone
    """
    answer = call(
        options, RoleCreate(role, like, _parse_privileges(with_), _parse_privileges(without))
    )
    show(answer, options.output, ROLES, ROLES_WIDE, key="role")


def update(
    role: str,
    *,
    like: Like = "",
    with_: With = (),
    without: Without = (),
    options: Options = DEFAULTS,
) -> None:
    """Change what a role may do, for all who have it; at once.

    keystead role update no-host --with Cryptographer.RegisterHost
    keystead role update no-host --like ReadOnly
    """
    answer = call(
        options, RoleUpdate(role, like, _parse_privileges(with_), _parse_privileges(without))
    )
    show(answer, options.output, ROLES, ROLES_WIDE, key="role")


def delete(role: str, *, options: Options = DEFAULTS) -> None:
    """Delete a role that no user has.

    keystead role delete no-host
    keystead role delete no-host -o json
    """
    show(call(options, RoleDelete(role)), options.output, ROLES, ROLES_WIDE, key="role")


def set_user(
    principal: str,
    *,
    role: Annotated[str, Parameter(help="Admin, NoCryptoAdmin, ReadOnly, or one that was made.")],
    options: Options = DEFAULTS,
) -> None:
    """Give a user a role, in place of the one that it had. Tasks are given with --user.

    keystead user set alice@vsphere.local --role NoCryptoAdmin
    keystead user set bob --role no-host
    """
    show(call(options, UserSet(principal, role)), options.output, USERS, key="user")


def delete_user(principal: str, *, options: Options = DEFAULTS) -> None:
    """Take a user's role away: it may do nothing any more.

    keystead user delete alice@vsphere.local
    keystead user delete alice@vsphere.local -o json
    """
    show(call(options, UserDelete(principal)), options.output, USERS, key="user")
