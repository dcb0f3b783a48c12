"""vCenter's handlers for clones, templates and snapshots, and the stream of a migration."""

from __future__ import annotations

from typing import Any

from protocol.messages import vcenter as m
from services.runtime.service import Peer, serves
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tasks import clone, migrate, snapshots


def _vm(message: Any) -> str:
    return f"vm:{message.vm}"


class CopiesHandlers(ProviderHandlers):
    """See the module's text."""

    @serves(m.CloneVm, turn=_vm)
    async def clone_vm(self, message: m.CloneVm, peer: Peer) -> m.VmCloned:
        """See ``tasks.clone``."""
        work = clone.clone_vm(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.vm, message, work)

    @serves(m.ReconfigVm, turn=_vm)
    async def reconfig_vm(self, message: m.ReconfigVm, peer: Peer) -> m.VmRelocated:
        """See ``tasks.migrate``."""
        return await self.task(
            peer, message.vm, message, migrate.reconfigure(self.vcenter, message)
        )

    @serves(m.MarkAsTemplate, turn=_vm)
    async def mark_as_template(self, message: m.MarkAsTemplate, peer: Peer) -> m.VmMarked:
        """See ``tasks.snapshots``."""
        return await self.task(peer, message.vm, message, snapshots.mark(self.vcenter, message))

    @serves(m.MarkAsVirtualMachine, turn=_vm)
    async def mark_as_vm(self, message: m.MarkAsVirtualMachine, peer: Peer) -> m.VmMarked:
        """See ``tasks.snapshots``."""
        return await self.task(peer, message.vm, message, snapshots.mark(self.vcenter, message))

    @serves(m.CreateSnapshot, turn=_vm)
    async def create_snapshot(self, message: m.CreateSnapshot, peer: Peer) -> m.VmSnapshots:
        """See ``tasks.snapshots``."""
        work = snapshots.create_snapshot(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(m.RemoveSnapshot, turn=_vm)
    async def remove_snapshot(self, message: m.RemoveSnapshot, peer: Peer) -> m.VmSnapshots:
        """See ``tasks.snapshots``."""
        work = snapshots.remove_snapshot(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(m.RevertToSnapshot, turn=_vm)
    async def revert_to_snapshot(self, message: m.RevertToSnapshot, peer: Peer) -> m.VmSnapshots:
        """See ``tasks.snapshots``."""
        work = snapshots.revert_to_snapshot(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)
