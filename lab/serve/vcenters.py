"""vCenters as machines: backups, restores, new installations."""

from __future__ import annotations

from chaos.backups import back_up
from chaos.installs import install_anew, restore_vcenter
from lab.schema import commands
from lab.schema.answers import HostPowerList, VcenterCopy
from lab.serve.executing import executes
from lab.serve.machines import fetch_node
from lab.serve.session import LabSession
from lab.serve.views import power_view
from protocol.terms import ProviderId


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
