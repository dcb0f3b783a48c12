"""Which task needs which privileges, and one that its user may not give (PRIV-01)."""

from __future__ import annotations

from enum import Enum
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from protocol.authorization import ADMINISTRATOR, Privilege
from protocol.errors import AlreadyExists, InvalidArgument, NoPermission, NotFound, ResourceInUse
from protocol.messages.base import Repeat, Request, Sealed, registry
from protocol.messages.vcenter.inventory import (
    AddAuthorizationRole,
    HaReport,
    HostChanged,
    ListTasks,
    QueryAuthorization,
    RemoveAuthorizationRole,
    RemoveEntityPermission,
    SetEntityPermissions,
    TaskInfoState,
    UpdateAuthorizationRole,
)
from protocol.messages.vcenter.providers import ListKmsClusters
from protocol.messages.vcenter.trust import SetTrustedAdmin
from protocol.messages.vcenter.vms import (
    AddDisk,
    AddVtpm,
    CreateVm,
    CryptoUnlock,
    DecryptVm,
    EncryptVm,
    EndRelocation,
    ListVms,
    MigrateVm,
    PowerOnVm,
    RecryptVm,
    RegisterVm,
    UnregisterVm,
)
from protocol.secret import KeyMaterial
from protocol.terms import VmName
from services.vcenter.authorization.privileges import NEEDS, SYSTEM_ROLES, TaskNeeds, privileges_for
from services.vcenter.service import VcenterService
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import CLUSTER, VM, A, B, Rig

FROM_NODES = {HostChanged, HaReport, EndRelocation}
"""From hosts, each for itself, and from another vCenter that a task of a user has spoken to."""
TASKS = sorted(NEEDS, key=lambda kind: kind.__name__)
CRYPTO = {one for one in Privilege if one.group == "Cryptographer"}


def not_in_table(served: dict[str, Any], table: dict[type[Request[Any]], TaskNeeds]) -> set[str]:
    """Requests of clients that change something, and of which the table does not say who may."""
    found = {registry()[name] for name in served}
    return {
        kind.__name__
        for kind in found
        if getattr(kind, "repeat", None) is not Repeat.READ
        and kind not in table
        and kind not in FROM_NODES
    }


def test_every_task_is_in_the_table_and_nothing_that_is_not_served() -> None:
    assert not_in_table(VcenterService.handlers, dict(NEEDS)) == set()
    assert {kind.__name__ for kind in NEEDS} <= set(VcenterService.handlers)


def test_a_task_that_is_not_in_the_table_is_found() -> None:
    table = {kind: needs for kind, needs in NEEDS.items() if kind is not EncryptVm}
    assert not_in_table(VcenterService.handlers, table) == {"EncryptVm"}


def example_of(kind: type[Any]) -> Any:
    """A message with something in each field that has to be there."""
    hints = get_type_hints(kind)
    needed = [f.name for f in msgspec.structs.fields(kind) if f.required]
    return kind(**{name: _something(hints[name]) for name in needed})


def _something(hint: Any) -> Any:
    origin = get_origin(hint)
    if origin in (Union, UnionType):
        return _something(get_args(hint)[0])
    hint = getattr(hint, "__supertype__", hint)
    if origin is tuple:
        return ()
    if hint is Sealed:
        return Sealed.of(KeyMaterial(bytes(32)))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return example_of(hint)
    if hint in (str, bytes, int, float, bool):
        return hint()
    return hint("p/k") if hint not in (str, int) else hint()


@pytest.mark.parametrize("kind", TASKS)
def test_who_may_only_look_gives_no_task_and_leaves_no_trace(
    rig: Rig, kind: type[Request[Any]]
) -> None:
    rig.up(A)
    rig.vm()
    looker = rig.user("looker@vsphere.local", role="ReadOnly")
    before, asked = rig.mark(), len(rig.sent)
    tasks = rig.do(ListTasks()).tasks
    error = rig.refused(example_of(kind), looker)
    assert isinstance(error, NoPermission)
    assert str(privileges_for(example_of(kind), {})[0]) in str(error) and looker in str(error)
    assert rig.mark() == before
    assert not [r for r in rig.requests(asked) if r[2] not in ("HeartBeat", "QueryHost", "Beat")]
    told = rig.do(ListTasks()).tasks[len(tasks) :]
    if kind.repeat is Repeat.READ:
        return
    if told:  # all but the two that make no task: a way in for a file, and a file's name
        assert [(t.name, t.user, t.state, t.error) for t in told] == [
            (kind.__name__, looker, TaskInfoState.ERROR, "NoPermission")
        ]
    else:
        assert kind.__name__ in ("OpenTransfer", "ExportProvider")


def test_who_has_no_role_may_not_even_look(rig: Rig) -> None:
    error = rig.refused(ListVms(), "mallory")
    assert isinstance(error, NoPermission) and "mallory lacks System.Read" in str(error)
    rig.user("looker", role="ReadOnly")
    assert rig.do(ListVms(), "looker").vms == ()
    assert isinstance(rig.refused(ListKmsClusters(), "looker"), NoPermission)
    rig.do(RemoveEntityPermission(principal="looker"))
    assert isinstance(rig.refused(ListVms(), "looker"), NoPermission)


def test_the_administrator_without_cryptography_has_all_but_that_and_ways_around_it() -> None:
    lacking = set(SYSTEM_ROLES["Admin"]) - set(SYSTEM_ROLES["NoCryptoAdmin"])
    assert lacking - CRYPTO == {
        Privilege.DIAGNOSTICS,
        Privilege.ADD_HOST,
        Privilege.ADD_STANDALONE_HOST,
        Privilege.MANAGE_USER_GROUPS,
    }
    assert lacking >= CRYPTO


def test_no_crypto_admin_works_with_clear_vms_and_powers_encrypted_ones(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    clear, user = VmName("clear"), rig.user("ops", role="NoCryptoAdmin")
    before = len(rig.sent)
    operation = rig.operation()
    rig.do(CreateVm(operation_id=operation, vm=clear, cluster=CLUSTER, host=A), user)
    rig.do(PowerOnVm(vm=VM), user)  # the key is on its host already
    crypto: list[tuple[Request[Any], str]] = [
        (CreateVm(operation_id="a", vm=VmName("x"), cluster=CLUSTER, encrypted=True), "EncryptNew"),
        (EncryptVm(operation_id="b", vm=clear), "Encrypt"),
        (RecryptVm(operation_id="c", vm=VM), "Recrypt"),
        (DecryptVm(vm=VM), "Decrypt"),
        (AddVtpm(operation_id="d", vm=clear), "EncryptNew"),
        (AddDisk(operation_id="e", vm=VM), "AddDisk"),
        (MigrateVm(vm=VM, host=B), "Migrate"),
        (CryptoUnlock(vm=VM), "RegisterVM"),
    ]
    for message, privilege in crypto:
        error = rig.refused(message, user)
        assert isinstance(error, NoPermission)
        assert f"ops lacks Cryptographer.{privilege}," in str(error)
    assert "CreateKey" not in {name for _, _, name in rig.requests(before)}
    assert [vm.vm for vm in rig.do(ListVms()).vms] == [clear, VM]
    rig.healthy()


def test_registering_needs_register_vm_only_when_keys_have_to_be_fetched(rig: Rig) -> None:
    rig.up(A)
    rig.vm()
    key = rig.key_of()
    user = rig.user("ops", Privilege.REGISTER_VM)
    again = RegisterVm(vm=VM, cluster=CLUSTER, host=A)
    rig.do(UnregisterVm(vm=VM))
    rig.hosts[A].cache.clear()
    error = rig.refused(again, user)
    assert isinstance(error, NoPermission) and "Cryptographer.RegisterVM" in str(error)
    rig.sleep(30)
    assert VM not in rig.hosts[A].vms and rig.do(ListVms()).vms == ()
    rig.do(again)
    assert key in rig.hosts[A].cache
    rig.healthy()


# ---- roles --------------------------------------------------------------------------------


def test_roles_and_users_outlive_a_crash(rig: Rig) -> None:
    rig.do(AddAuthorizationRole(role="cloner", privileges=(Privilege.CLONE,)))
    rig.do(SetEntityPermissions(principal="alice@vsphere.local", role="cloner"))
    rig.reboot(VCENTER)
    state = rig.do(QueryAuthorization())
    assert [role.role for role in state.roles] == ["Admin", "NoCryptoAdmin", "ReadOnly", "cloner"]
    assert state.roles[3].privileges == (Privilege.VIEW, Privilege.READ, Privilege.CLONE)
    assert [(one.principal, one.role) for one in state.permissions] == [
        (ADMINISTRATOR, "Admin"),
        ("alice@vsphere.local", "cloner"),
    ]


def test_a_role_that_changes_changes_what_its_users_may(rig: Rig) -> None:
    user = rig.user("alice", role="Admin")
    rig.do(AddAuthorizationRole(role="own", privileges=()))
    rig.do(SetEntityPermissions(principal="alice", role="own"))
    assert isinstance(rig.refused(ListKmsClusters(), user), NoPermission)
    rig.do(UpdateAuthorizationRole(role="own", privileges=(Privilege.READ_KEY_SERVERS,)))
    assert rig.do(ListKmsClusters(), user).providers == ()


def test_what_cannot_be_done_to_roles_and_users(rig: Rig) -> None:
    rig.do(AddAuthorizationRole(role="own", privileges=(Privilege.CLONE,)))
    rig.do(AddAuthorizationRole(role="own", privileges=(Privilege.CLONE,)))  # twice is once
    rig.do(SetEntityPermissions(principal="alice", role="own"))
    refusals: list[tuple[Request[Any], type[Exception]]] = [
        (AddAuthorizationRole(role="own", privileges=()), AlreadyExists),
        (AddAuthorizationRole(role="Admin", privileges=()), AlreadyExists),
        (UpdateAuthorizationRole(role="ReadOnly", privileges=()), InvalidArgument),
        (UpdateAuthorizationRole(role="none", privileges=()), NotFound),
        (RemoveAuthorizationRole(role="own"), ResourceInUse),
        (RemoveAuthorizationRole(role="Admin"), InvalidArgument),
        (SetEntityPermissions(principal="alice", role="none"), NotFound),
        (SetEntityPermissions(principal=ADMINISTRATOR, role="ReadOnly"), InvalidArgument),
        (RemoveEntityPermission(principal=ADMINISTRATOR), InvalidArgument),
    ]
    for message, kind in refusals:
        assert isinstance(rig.refused(message), kind), message
    rig.do(RemoveEntityPermission(principal="alice"))
    rig.do(RemoveAuthorizationRole(role="own"))
    assert len(rig.do(QueryAuthorization()).roles) == len(SYSTEM_ROLES)


def test_trusted_admin_is_a_group_and_no_part_of_the_role_of_administrators(rig: Rig) -> None:
    rig.do(SetTrustedAdmin(member="bob"))
    (bob,) = [one for one in rig.do(QueryAuthorization()).permissions if one.principal == "bob"]
    assert (bob.role, bob.trusted_admin) == ("", True)
    rig.user("alice", role="Admin")
    rig.do(SetTrustedAdmin(member="carol"), "alice")
    assert isinstance(rig.refused(SetTrustedAdmin(member="bob"), "bob"), NoPermission)


def test_nobody_gives_out_what_he_does_not_have(rig: Rig) -> None:
    """Else an administrator without cryptography would make himself one with it."""
    ops = rig.user("ops", role="NoCryptoAdmin")
    rig.do(AddAuthorizationRole(role="own", privileges=(Privilege.POWER_ON,)))
    rig.do(AddAuthorizationRole(role="crypto", privileges=(Privilege.ENCRYPT,)))
    rig.do(SetEntityPermissions(principal="ops-2", role="own"), ops)
    refusals: list[Request[Any]] = [
        SetEntityPermissions(principal=ops, role="Admin"),
        SetEntityPermissions(principal="mallory", role="crypto"),
        UpdateAuthorizationRole(role="own", privileges=(Privilege.POWER_ON, Privilege.ENCRYPT)),
        UpdateAuthorizationRole(role="crypto", privileges=()),
    ]
    before = rig.do(QueryAuthorization())
    for message in refusals:
        error = rig.refused(message, ops)
        assert isinstance(error, NoPermission) and "ops lacks " in str(error), message
        assert "Cryptographer.Encrypt" in str(error)
    assert rig.do(QueryAuthorization()) == before
    rig.do(UpdateAuthorizationRole(role="own", privileges=(Privilege.POWER_OFF,)), ops)


def test_privileges_of_trusted_admins_are_given_out_by_who_names_these(rig: Rig) -> None:
    """The role Admin has none of them (TA-04), and its users make trusted administrators."""
    trusted = (Privilege.READ_TRUSTED_HOSTS,)
    rig.do(AddAuthorizationRole(role="auditor", privileges=trusted))
    rig.do(SetEntityPermissions(principal="eve", role="auditor"))
    lacking = rig.user("roles-only", Privilege.MODIFY_PERMISSIONS)
    refused = rig.refused(UpdateAuthorizationRole(role="auditor", privileges=()), lacking)
    assert isinstance(refused, NoPermission) and "TrustedAdmin.ReadTrustedHosts" in str(refused)
