"""vCenter's handlers for virtual TPMs and VMCA."""

from __future__ import annotations

from typing import Any

from protocol.messages.vcenter import AddVtpm, QueryVmca, RemoveVtpm, VmcaState, VmReconfigured
from services.runtime.service import Peer, serves
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tasks import vtpm


def _vm(message: Any) -> str:
    return f"vm:{message.vm}"


class VtpmHandlers(ProviderHandlers):
    """See the module's text."""

    @serves(AddVtpm, turn=_vm)
    async def add_vtpm(self, message: AddVtpm, peer: Peer) -> VmReconfigured:
        """See ``tasks.vtpm``."""
        return await self.task(
            peer, message.vm, message, vtpm.add_vtpm(self.vcenter, message, self.caller(peer))
        )

    @serves(RemoveVtpm, turn=_vm)
    async def remove_vtpm(self, message: RemoveVtpm, peer: Peer) -> VmReconfigured:
        """See ``tasks.vtpm``."""
        return await self.task(
            peer, message.vm, message, vtpm.remove_vtpm(self.vcenter, message, self.caller(peer))
        )

    @serves(QueryVmca)
    async def query_vmca(self, message: QueryVmca, peer: Peer) -> VmcaState:
        """Its certificate, for who verifies those of vTPMs."""
        return VmcaState(certificate=await self.vcenter.vmca.certificate())
