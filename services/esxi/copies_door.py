"""What a host is told of clones, templates and snapshots, and asked of a VM that may come to it.

Flows lie in ``vms`` and ``migration``.
"""

from __future__ import annotations

from typing import Any

from protocol.errors import InvalidArgument
from protocol.messages import host as m
from services.esxi.host import Host
from services.esxi.migration import incoming
from services.esxi.vms import clone, revert, snapshots, template
from services.esxi.vms.vm import queue_of
from services.runtime.service import Peer, Service, serves


def _vm(message: Any) -> str:
    return queue_of(message.vm)


def _clones(message: Any) -> str:
    return "clones"


class CopiesDoor(Service):
    """Handlers of ``protocol.messages.host.copies``. Who inherits from it sets up ``host``."""

    host: Host

    @serves(m.HostCloneVm, turn=_clones)
    async def clone_vm(self, message: m.HostCloneVm, peer: Peer) -> m.VmState:
        """See ``clone.clone``, which waits for the source's turn within. Clones are made one after
        another, since each waits for the turns of two VMs."""
        if message.source == message.vm:
            raise InvalidArgument("vm: a clone has another name than its source")
        async with self.node.turn(queue_of(message.vm)):
            vm = await clone.clone(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostMarkTemplate, turn=_vm)
    async def mark_template(self, message: m.HostMarkTemplate, peer: Peer) -> m.VmState:
        """See ``template.mark``."""
        vm = await template.mark(self.host, message.vm, template=message.template)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostCreateSnapshot, turn=_vm)
    async def create_snapshot(self, message: m.HostCreateSnapshot, peer: Peer) -> m.VmState:
        """See ``snapshots.create``."""
        vm = await snapshots.create(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRemoveSnapshot, turn=_vm)
    async def remove_snapshot(self, message: m.HostRemoveSnapshot, peer: Peer) -> m.VmState:
        """See ``snapshots.remove``."""
        vm = await snapshots.remove(self.host, message.vm, message.snapshot)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRevertToSnapshot, turn=_vm)
    async def revert_to_snapshot(self, message: m.HostRevertToSnapshot, peer: Peer) -> m.VmState:
        """See ``revert.revert``."""
        vm = await revert.revert(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.CheckRelocate)
    async def check_relocate(self, message: m.CheckRelocate, peer: Peer) -> m.RelocateChecked:
        """See ``incoming.check``."""
        if message.datastore:
            await incoming.check(self.host, message)
        return m.RelocateChecked(datastore=self.host.config.datastore)
