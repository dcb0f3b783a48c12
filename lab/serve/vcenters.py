"""vCenters: backups, restores, new installations; roles and users; the alarms that stand now, each
with why, and the one that is acknowledged.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from chaos.administration import back_up, install_anew, restore_vcenter
from chaos.observe.look import all_clusters, all_hosts, all_providers, all_vms
from chaos.providers import kind_of
from lab.schema import commands
from lab.schema.answers import (
    Alarm,
    AlarmList,
    Host,
    HostPowerList,
    PermissionRole,
    RoleList,
    User,
    UserList,
    VcenterCopy,
)
from lab.schema.errors import KeysteadError
from lab.serve.machines import fetch_node
from lab.serve.session import LabSession, executes
from lab.serve.views import host_view, power_view
from protocol.authorization import Privilege
from protocol.messages.vcenter.inventory import (
    AcknowledgeAlarm,
    AddAuthorizationRole,
    AuthorizationState,
    HostInfo,
    QueryAuthorization,
    RemoveAuthorizationRole,
    RemoveEntityPermission,
    SetEntityPermissions,
    UpdateAuthorizationRole,
)
from protocol.messages.vcenter.providers import ProviderInfo
from protocol.terms import HostConnectionState, HostCryptoState, NodeName, ProviderId


@executes
async def backup(session: LabSession, command: commands.VcenterBackup) -> VcenterCopy:
    """See ``VcenterBackup``."""
    await session.lab.check_room(session.vcenter, to_copy=True)
    await back_up(session.lab, (session.vcenter,), command.backup)
    return await _copy(session, command.backup)


@executes
async def restore(session: LabSession, command: commands.VcenterRestore) -> VcenterCopy:
    """See ``VcenterRestore``."""
    gone = await restore_vcenter(session.lab, session.vcenter, command.backup)
    return await _copy(session, command.backup, gone)


async def _copy(session: LabSession, backup: str, gone: tuple[ProviderId, ...] = ()) -> VcenterCopy:
    machine = (await fetch_node(session, session.vcenter)).state
    return VcenterCopy(vcenter=session.vcenter, backup=backup, machine=machine, gone=gone)


@executes
async def rebuild(session: LabSession, command: commands.VcenterRebuild) -> HostPowerList:
    """See ``VcenterRebuild``."""
    return HostPowerList(items=(power_view(await install_anew(session.lab, session.vcenter)),))


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


KEY_SERVER_ALARM: Final = "alarm.KeyServerHealth"
VSAN_ALARM: Final = "alarm.VsanEncryptionHealth"
NOT_BACKED_UP_ALARM: Final = "alarm.NativeKeyProviderNotBackedUp"
_NOT_BACKED_UP: Final = "NotBackedUp"
"""In the id of a detail of a native provider's health."""


@executes
async def alarms(session: LabSession, command: commands.GetAlarms) -> AlarmList:
    """See ``GetAlarms``."""
    found = [
        replace(alarm, vcenter=session.vcenter_to_show(vcenter))
        for vcenter in session.vcenters()
        for alarm in await _alarms_at(session, vcenter)
    ]
    return AlarmList(items=tuple(found))


async def _alarms_at(session: LabSession, vcenter: NodeName) -> list[Alarm]:
    found: list[Alarm] = []
    for host in await all_hosts(session, vcenter):
        found += [Alarm(of=host.host, alarm=a, why=_why(host, a)) for a in host.alarms]
    for vm in await all_vms(session, vcenter):
        why = "missing: " + ", ".join(str(key) for key in vm.missing)
        found += [Alarm(of=vm.vm, alarm=a, why=why) for a in vm.alarms]
    for provider in await all_providers(session, vcenter):
        found += _of_provider(provider)
    for cluster in await all_clusters(session, vcenter):
        if problems := cluster.vsan_problems or ():
            found.append(Alarm(of=cluster.cluster, alarm=VSAN_ALARM, why="; ".join(problems)))
    return found


@executes
async def acknowledge(session: LabSession, command: commands.AlarmAcknowledge) -> Host:
    """See ``AlarmAcknowledge``."""
    host = session.host(command.host)
    vcenter = session.vcenter_of(host)
    await session.ask(vcenter, AcknowledgeAlarm(host=host))
    found = next(one for one in await all_hosts(session, vcenter) if one.host == host)
    return host_view(found, await fetch_node(session, host))


def _of_provider(provider: ProviderInfo) -> list[Alarm]:
    """Of its key servers that do not answer, or of a backup that is missing (NKP-05)."""
    found: list[Alarm] = []
    if silent := [contact.name for contact in provider.contacts if contact.status == "red"]:
        why = f"{provider.status}: no answer from {', '.join(silent)}"
        found.append(Alarm(of=provider.provider, alarm=KEY_SERVER_ALARM, why=why))
    details = [detail for detail in provider.details if _NOT_BACKED_UP.lower() in detail.lower()]
    if kind_of(provider.management_type).derived and details:
        why = f"{', '.join(details)}: export it once"
        found.append(Alarm(of=provider.provider, alarm=NOT_BACKED_UP_ALARM, why=why))
    return found


def _why(host: HostInfo, alarm: str) -> str:
    if alarm.endswith("RecoveryKeyBackup"):
        return "its recovery key is new: keep it in a safe place, then acknowledge this"
    if host.attestation is not None and alarm.endswith("Attestation"):
        return host.attestation.message
    if host.connection is not HostConnectionState.CONNECTED:
        return host.connection.value
    state = host.crypto_state
    return "" if state in (None, HostCryptoState.SAFE) else f"it is {state.value}"
