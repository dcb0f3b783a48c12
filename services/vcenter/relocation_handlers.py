"""vCenter's handlers for VMs that move between vCenters (MOB-07)."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.authorization import ADMINISTRATOR
from protocol.messages import vcenter as m
from services.runtime.service import Peer, serves
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tasks import arrive, relocate


def _vm(message: Any) -> str:
    return f"vm:{message.vm}"


class RelocationHandlers(ProviderHandlers):
    """See the module's text."""

    @serves(m.RelocateVm, turn=_vm)
    async def relocate_vm(self, message: m.RelocateVm, peer: Peer) -> m.VmRelocated:
        """See ``tasks.relocate``."""
        work = relocate.relocate_vm(self.vcenter, message, peer.user or ADMINISTRATOR)
        return await self.task(peer, message.vm, message, work)

    @serves(m.PrepareRelocation, turn=_vm)
    async def prepare_relocation(
        self, message: m.PrepareRelocation, peer: Peer
    ) -> m.RelocationPrepared:
        """See ``tasks.arrive``. The user is the one that the other vCenter names; somebody at the
        console is who he is."""
        if not peer.local:
            peer = msgspec.structs.replace(peer, user=message.user)
        work = arrive.prepare(self.vcenter, message, self.caller(peer), peer.node)
        return await self.task(peer, message.vm, message, work)

    @serves(m.EndRelocation, turn=_vm)
    async def end_relocation(self, message: m.EndRelocation, peer: Peer) -> m.RelocationEnded:
        """See ``tasks.arrive``."""
        return await arrive.end(self.vcenter, message, peer.node)
