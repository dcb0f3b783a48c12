"""vCenter's handlers for vSAN encryption; changes of one cluster have a turn of their own."""

from __future__ import annotations

from typing import Any

from protocol.messages.vcenter.vsan import (
    ChangeVsanDisk,
    CreateVsanObject,
    MountVsanDisks,
    QueryVsanCluster,
    QueryVsanHealth,
    RekeyEncryptedCluster,
    VsanCluster,
    VsanClusterHealth,
    VsanClusterReconfig,
)
from services.runtime.service import Peer, serves
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tasks import vsan
from services.vcenter.vsan.health import health
from services.vcenter.vsan.keeper import VsanKeeper


def _vsan(message: Any) -> str:
    return f"vsan:{message.cluster}"


def _disks(message: Any) -> str:
    return f"vsan-disks:{message.host}"


class VsanHandlers(ProviderHandlers):
    """See the module's text. ``vsan`` is there from ``start`` on."""

    vsan: VsanKeeper

    @serves(VsanClusterReconfig, turn=_vsan)
    async def vsan_cluster_reconfig(self, message: VsanClusterReconfig, peer: Peer) -> VsanCluster:
        self.vsan.start()
        work = vsan.reconfigure(self.vcenter, message)
        return await self.task(peer, message.cluster, message, work)

    @serves(RekeyEncryptedCluster, turn=_vsan)
    async def rekey_encrypted_cluster(
        self, message: RekeyEncryptedCluster, peer: Peer
    ) -> VsanCluster:
        return await self.task(peer, message.cluster, message, vsan.rekey(self.vcenter, message))

    @serves(CreateVsanObject, turn=_vsan)
    async def create_vsan_object(self, message: CreateVsanObject, peer: Peer) -> VsanCluster:
        self.vsan.start()
        work = vsan.create_object(self.vcenter, message)
        return await self.task(peer, message.object, message, work)

    @serves(ChangeVsanDisk, turn=_disks)
    async def change_vsan_disk(self, message: ChangeVsanDisk, peer: Peer) -> VsanCluster:
        return await self.task(peer, message.host, message, vsan.change_disk(self.vcenter, message))

    @serves(MountVsanDisks, turn=_disks)
    async def mount_vsan_disks(self, message: MountVsanDisks, peer: Peer) -> VsanCluster:
        return await self.task(peer, message.host, message, vsan.mount(self.vcenter, message))

    @serves(QueryVsanCluster)
    async def query_vsan_cluster(self, message: QueryVsanCluster, peer: Peer) -> VsanCluster:
        return await vsan.query(self.vcenter, message.cluster)

    @serves(QueryVsanHealth)
    async def query_vsan_health(self, message: QueryVsanHealth, peer: Peer) -> VsanClusterHealth:
        return await health(self.vcenter, message.cluster)
