"""vCenter's handlers: which nodes may send what, the turn of each message, and its task.

Work on one VM takes its turn by the VM's name, work on a host by the host's, work on the list of
providers in one turn of its own; each in order of acceptance. Clients use the node's own console
(``Peer.local``). Over the bus hosts send messages about themselves, and other vCenters about VMs
that move.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from protocol.authorization import ADMINISTRATOR, Privilege
from protocol.errors import NoPermission, NotFound, ProductError
from protocol.messages.base import Request
from protocol.messages.host.session import Done
from protocol.messages.vcenter import inventory as inventory_messages
from protocol.messages.vcenter import providers as provider_messages
from protocol.messages.vcenter import vms as vm_messages
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
from protocol.pages import first_page
from protocol.terms import Role, VmName
from services.runtime.ports import Ports
from services.runtime.service import Peer, serves
from services.vcenter.authorization.privileges import NEEDS
from services.vcenter.authorization.role_tasks import AuthorizationHandlers
from services.vcenter.config import VcenterConfig
from services.vcenter.hosts.session import HostSession
from services.vcenter.knobs import VcenterNode
from services.vcenter.provider_handlers import ProviderHandlers
from services.vcenter.tables import SCHEMA, Relocation
from services.vcenter.tasks import (
    clone,
    encrypt,
    host,
    kmip_servers,
    migrate,
    power,
    reconfigure,
    relocate,
    snapshots,
    vm_lifecycle,
    vsan,
)
from services.vcenter.tasks.relocate_outcome import cancel_arrival, clear_registrations, settle
from services.vcenter.timers import Ticker
from services.vcenter.trust.handlers import VcenterTrustHandlers
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.health import VsanKeeper, health

# ---- vtpm handlers -------------------------------------------------------------------------------
# vCenter's handlers for virtual TPMs and VMCA.


def _vm(message: Any) -> str:
    return f"vm:{message.vm}"


class VcenterVtpmHandlers(ProviderHandlers):
    """Virtual TPMs and their certificates."""

    @serves(vm_messages.AddVtpm, turn=_vm)
    async def add_vtpm(
        self, message: vm_messages.AddVtpm, peer: Peer
    ) -> vm_messages.VmReconfigured:
        """See ``tasks.vtpm``."""
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.add_vtpm(self.vcenter, message, self.caller(peer)),
        )

    @serves(vm_messages.RemoveVtpm, turn=_vm)
    async def remove_vtpm(
        self, message: vm_messages.RemoveVtpm, peer: Peer
    ) -> vm_messages.VmReconfigured:
        """See ``tasks.vtpm``."""
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.remove_vtpm(self.vcenter, message, self.caller(peer)),
        )

    @serves(vm_messages.QueryVmca)
    async def query_vmca(self, message: vm_messages.QueryVmca, peer: Peer) -> vm_messages.VmcaState:
        """VMCA's certificate, for verifying those of vTPMs."""
        return vm_messages.VmcaState(certificate=await self.vcenter.vmca.certificate())


# ---- vsan handlers -------------------------------------------------------------------------------
# vCenter's handlers for vSAN encryption; changes of one cluster have a turn of their own.


def _vsan(message: Any) -> str:
    return f"vsan:{message.cluster}"


def _disks(message: Any) -> str:
    return f"vsan-disks:{message.host}"


class VcenterVsanHandlers(ProviderHandlers):
    """vSAN encryption. ``vsan`` is set by ``start``."""

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


# ---- relocation handlers -------------------------------------------------------------------------
# vCenter's handlers for VMs that move between vCenters (MOB-07).


class RelocationHandlers(ProviderHandlers):
    """Moves between vCenters."""

    @serves(vm_messages.RelocateVm, turn=_vm)
    async def relocate_vm(
        self, message: vm_messages.RelocateVm, peer: Peer
    ) -> vm_messages.VmRelocated:
        """See ``tasks.relocate``."""
        work = relocate.relocate_vm(self.vcenter, message, peer.user or ADMINISTRATOR)
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.PrepareRelocation, turn=_vm)
    async def prepare_relocation(
        self, message: vm_messages.PrepareRelocation, peer: Peer
    ) -> vm_messages.RelocationPrepared:
        """See ``tasks.arrive``. The other vCenter names the user; at the console it is the
        console's user."""
        if not peer.local:
            peer = msgspec.structs.replace(peer, user=message.user)
        work = relocate.prepare(self.vcenter, message, self.caller(peer), peer.node)
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.EndRelocation, turn=_vm)
    async def end_relocation(
        self, message: vm_messages.EndRelocation, peer: Peer
    ) -> vm_messages.RelocationEnded:
        """See ``tasks.arrive``."""
        return await relocate.end(self.vcenter, message, peer.node)


# ---- kmip handlers -------------------------------------------------------------------------------
# vCenter's handlers for trust between it and KMIP servers.


def _providers(message: Any) -> str:
    return "providers"


class KmipHandlers(ProviderHandlers):
    """Trust between vCenter and KMIP servers; what each does is in ``tasks.kmip_trust``."""

    @serves(provider_messages.RetrieveClientCert)
    async def retrieve_client_cert(
        self, message: provider_messages.RetrieveClientCert, peer: Peer
    ) -> provider_messages.ClientCert:
        self.check(peer, message)
        return kmip_servers.retrieve_client(self.vcenter, message)

    @serves(provider_messages.GenerateSelfSignedClientCert, turn=_providers)
    async def generate_client_cert(
        self, message: provider_messages.GenerateSelfSignedClientCert, peer: Peer
    ) -> provider_messages.ClientCert:
        work = kmip_servers.generate_client(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.UploadClientCert, turn=_providers)
    async def upload_client_cert(
        self, message: provider_messages.UploadClientCert, peer: Peer
    ) -> provider_messages.ClientCert:
        work = kmip_servers.upload_client(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.GenerateClientCsr, turn=_providers)
    async def generate_client_csr(
        self, message: provider_messages.GenerateClientCsr, peer: Peer
    ) -> provider_messages.ClientCsr:
        work = kmip_servers.generate_request(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.RetrieveClientCsr)
    async def retrieve_client_csr(
        self, message: provider_messages.RetrieveClientCsr, peer: Peer
    ) -> provider_messages.ClientCsr:
        self.check(peer, message)
        return kmip_servers.retrieve_request(self.vcenter, message)

    @serves(provider_messages.UpdateKmsSignedCsrClientCert, turn=_providers)
    async def update_signed_client_cert(
        self, message: provider_messages.UpdateKmsSignedCsrClientCert, peer: Peer
    ) -> provider_messages.ClientCert:
        work = kmip_servers.update_signed(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.LoseClientKey, turn=_providers)
    async def lose_client_key(
        self, message: provider_messages.LoseClientKey, peer: Peer
    ) -> provider_messages.ClientCert:
        work = kmip_servers.lose_client_key(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.LoseKmipPasswords, turn=_providers)
    async def lose_kmip_passwords(
        self, message: provider_messages.LoseKmipPasswords, peer: Peer
    ) -> Done:
        work = kmip_servers.lose_passwords(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(provider_messages.RetrieveKmipServerCert)
    async def retrieve_server_cert(
        self, message: provider_messages.RetrieveKmipServerCert, peer: Peer
    ) -> provider_messages.ServerCert:
        self.check(peer, message)
        return await kmip_servers.retrieve_server(self.vcenter, message)

    @serves(provider_messages.UploadKmipServerCert, turn=_providers)
    async def upload_server_cert(
        self, message: provider_messages.UploadKmipServerCert, peer: Peer
    ) -> Done:
        work = kmip_servers.upload_server(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)


# ---- copies handlers -----------------------------------------------------------------------------
# vCenter's handlers for clones, templates and snapshots, and the stream of a migration.


class VcenterCopyHandlers(ProviderHandlers):
    """Clones, templates and snapshots."""

    @serves(vm_messages.CloneVm, turn=_vm)
    async def clone_vm(self, message: vm_messages.CloneVm, peer: Peer) -> vm_messages.VmCloned:
        """See ``tasks.clone``."""
        work = clone.clone_vm(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.ReconfigVm, turn=_vm)
    async def reconfig_vm(
        self, message: vm_messages.ReconfigVm, peer: Peer
    ) -> vm_messages.VmRelocated:
        """See ``tasks.migrate``."""
        return await self.task(
            peer, message.vm, message, migrate.reconfigure(self.vcenter, message)
        )

    @serves(vm_messages.MarkAsTemplate, turn=_vm)
    async def mark_as_template(
        self, message: vm_messages.MarkAsTemplate, peer: Peer
    ) -> vm_messages.VmMarked:
        """See ``tasks.snapshots``."""
        return await self.task(peer, message.vm, message, snapshots.mark(self.vcenter, message))

    @serves(vm_messages.MarkAsVirtualMachine, turn=_vm)
    async def mark_as_vm(
        self, message: vm_messages.MarkAsVirtualMachine, peer: Peer
    ) -> vm_messages.VmMarked:
        """See ``tasks.snapshots``."""
        return await self.task(peer, message.vm, message, snapshots.mark(self.vcenter, message))

    @serves(vm_messages.CreateSnapshot, turn=_vm)
    async def create_snapshot(
        self, message: vm_messages.CreateSnapshot, peer: Peer
    ) -> vm_messages.VmSnapshots:
        """See ``tasks.snapshots``."""
        work = snapshots.create_snapshot(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.RemoveSnapshot, turn=_vm)
    async def remove_snapshot(
        self, message: vm_messages.RemoveSnapshot, peer: Peer
    ) -> vm_messages.VmSnapshots:
        """See ``tasks.snapshots``."""
        work = snapshots.remove_snapshot(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.RevertToSnapshot, turn=_vm)
    async def revert_to_snapshot(
        self, message: vm_messages.RevertToSnapshot, peer: Peer
    ) -> vm_messages.VmSnapshots:
        """See ``tasks.snapshots``."""
        work = snapshots.revert_to_snapshot(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)


def _host(message: Any) -> str:
    return f"host:{message.host}"


def _cluster(message: Any) -> str:
    return f"cluster:{message.cluster}"


class VcenterService(
    VcenterTrustHandlers,
    VcenterVsanHandlers,
    VcenterVtpmHandlers,
    KmipHandlers,
    VcenterCopyHandlers,
    RelocationHandlers,
    AuthorizationHandlers,
):
    """One vCenter. ``vcenter`` is set by ``start``."""

    role: ClassVar[Role] = Role.VCENTER

    def __init__(
        self, node: VcenterNode, ports: Ports, config: VcenterConfig | None = None
    ) -> None:
        super().__init__(node, ports)
        self._ports, self._config = ports, config or VcenterConfig()

    async def start(self) -> None:
        """Rebuild the view from the database; then connect hosts and check providers."""
        database = await self.disk.database("vcenter", SCHEMA, ledger=True)
        self.vcenter = VCenter(self.node, self._ports, self._config, database)
        await self.vcenter.start()
        self.vsan = VsanKeeper(self.vcenter)
        self.vsan.start_if_needed()
        Relocations(self.vcenter).start()

    def accept(self, message: Request[Any], peer: Peer) -> None:
        match message:
            case inventory_messages.HostChanged() | inventory_messages.HaReport():
                self._ringing(peer)
            case vm_messages.EndRelocation() | vm_messages.PrepareRelocation() if (
                peer.node in self._config.vcenters
            ):
                pass
            case vm_messages.EndRelocation():
                raise NoPermission(f"{peer.node} is not a linked vCenter of this one")
            case _:
                if not peer.local:
                    raise NoPermission(f"{peer.node} is no client of vCenter")
                if type(message) not in NEEDS:
                    self.caller(peer).check((Privilege.READ,), type(message).__name__)

    def _ringing(self, peer: Peer) -> HostSession:
        """The host that rings. It speaks for itself only: the bus has proved its name."""
        session = None if peer.local else self.vcenter.sessions.get(peer.node)
        if session is None:
            raise NotFound(f"host {peer.node} is not in the inventory")
        return session

    # ---- from hosts -------------------------------------------------------------------------

    @serves(inventory_messages.HostChanged)
    async def host_changed(self, message: inventory_messages.HostChanged, peer: Peer) -> Done:
        """Accepted at once; vCenter looks at the host afterwards."""
        self._ringing(peer).rang(message.boot)
        return Done()

    @serves(inventory_messages.HaReport)
    async def ha_report(self, message: inventory_messages.HaReport, peer: Peer) -> Done:
        """The primary of a cluster reports what its agents did."""
        await self.vcenter.availability.record_incidents(peer.node, message.incidents)
        return Done()

    # ---- hosts and VMs ----------------------------------------------------------------------

    @serves(inventory_messages.AddHost, turn=_host)
    async def add_host(
        self, message: inventory_messages.AddHost, peer: Peer
    ) -> inventory_messages.HostAdded:
        return await self.task(peer, message.host, message, host.add_host(self.vcenter, message))

    @serves(inventory_messages.RemoveHost, turn=_host)
    async def remove_host(self, message: inventory_messages.RemoveHost, peer: Peer) -> Done:
        return await self.task(peer, message.host, message, host.remove_host(self.vcenter, message))

    @serves(inventory_messages.DisconnectHost, turn=_host)
    async def disconnect_host(self, message: inventory_messages.DisconnectHost, peer: Peer) -> Done:
        return await self.task(
            peer, message.host, message, host.disconnect_host(self.vcenter, message)
        )

    @serves(inventory_messages.ReconnectHost, turn=_host)
    async def reconnect_host(
        self, message: inventory_messages.ReconnectHost, peer: Peer
    ) -> inventory_messages.HostReconnected:
        return await self.task(
            peer, message.host, message, host.reconnect_host(self.vcenter, message)
        )

    @serves(inventory_messages.EnterMaintenanceMode, turn=_host)
    async def enter_maintenance_mode(
        self, message: inventory_messages.EnterMaintenanceMode, peer: Peer
    ) -> Done:
        work = host.enter_maintenance_mode(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(inventory_messages.ExitMaintenanceMode, turn=_host)
    async def exit_maintenance_mode(
        self, message: inventory_messages.ExitMaintenanceMode, peer: Peer
    ) -> Done:
        work = host.exit_maintenance_mode(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(inventory_messages.ConfigureCryptoKey, turn=_host)
    async def configure_crypto_key(
        self, message: inventory_messages.ConfigureCryptoKey, peer: Peer
    ) -> Done:
        work = host.configure_crypto_key(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(inventory_messages.PrepareCrypto, turn=_host)
    async def prepare_crypto(self, message: inventory_messages.PrepareCrypto, peer: Peer) -> Done:
        work = host.prepare_crypto(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(inventory_messages.DisableCrypto, turn=_host)
    async def disable_crypto(self, message: inventory_messages.DisableCrypto, peer: Peer) -> Done:
        work = host.disable_crypto(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(inventory_messages.SetCryptoMode, turn=_cluster)
    async def set_crypto_mode(self, message: inventory_messages.SetCryptoMode, peer: Peer) -> Done:
        work = host.set_crypto_mode(self.vcenter, message)
        return await self.task(peer, message.cluster, message, work)

    @serves(inventory_messages.ReconfigureComputeResource, turn=_cluster)
    async def reconfigure_cluster(
        self, message: inventory_messages.ReconfigureComputeResource, peer: Peer
    ) -> Done:
        work = host.reconfigure(self.vcenter, message)
        return await self.task(peer, message.cluster, message, work)

    @serves(inventory_messages.ClearTpmRecord, turn=_host)
    async def clear_tpm_record(
        self, message: inventory_messages.ClearTpmRecord, peer: Peer
    ) -> Done:
        work = host.clear_tpm_record(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(inventory_messages.AcknowledgeAlarm, turn=_host)
    async def acknowledge_alarm(
        self, message: inventory_messages.AcknowledgeAlarm, peer: Peer
    ) -> Done:
        work = host.acknowledge_alarm(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(vm_messages.CreateVm, turn=_vm)
    async def create_vm(self, message: vm_messages.CreateVm, peer: Peer) -> vm_messages.VmCreated:
        return await self.task(
            peer,
            message.vm,
            message,
            vm_lifecycle.create_vm(self.vcenter, message, self.caller(peer)),
        )

    @serves(vm_messages.RegisterVm, turn=_vm)
    async def register_vm(
        self, message: vm_messages.RegisterVm, peer: Peer
    ) -> vm_messages.VmRegistered:
        work = vm_lifecycle.register_vm(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.UnregisterVm, turn=_vm)
    async def unregister_vm(self, message: vm_messages.UnregisterVm, peer: Peer) -> Done:
        work = vm_lifecycle.unregister_vm(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.DestroyVm, turn=_vm)
    async def destroy_vm(self, message: vm_messages.DestroyVm, peer: Peer) -> Done:
        work = vm_lifecycle.destroy_vm(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(vm_messages.EncryptVm, turn=_vm)
    async def encrypt_vm(
        self, message: vm_messages.EncryptVm, peer: Peer
    ) -> vm_messages.VmEncrypted:
        return await self.task(
            peer, message.vm, message, encrypt.encrypt_vm(self.vcenter, message, self.caller(peer))
        )

    @serves(vm_messages.RecryptVm, turn=_vm)
    async def recrypt_vm(
        self, message: vm_messages.RecryptVm, peer: Peer
    ) -> vm_messages.VmRecrypted:
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.recrypt_vm(self.vcenter, message, self.caller(peer)),
        )

    @serves(vm_messages.DecryptVm, turn=_vm)
    async def decrypt_vm(
        self, message: vm_messages.DecryptVm, peer: Peer
    ) -> vm_messages.VmDecrypted:
        return await self.task(
            peer, message.vm, message, reconfigure.decrypt_vm(self.vcenter, message)
        )

    @serves(vm_messages.AddDisk, turn=_vm)
    async def add_disk(self, message: vm_messages.AddDisk, peer: Peer) -> vm_messages.VmDisks:
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.add_disk(self.vcenter, message, self.caller(peer)),
        )

    @serves(vm_messages.RemoveDisk, turn=_vm)
    async def remove_disk(self, message: vm_messages.RemoveDisk, peer: Peer) -> vm_messages.VmDisks:
        return await self.task(
            peer, message.vm, message, reconfigure.remove_disk(self.vcenter, message)
        )

    @serves(vm_messages.PowerOnVm, turn=_vm)
    async def power_on(self, message: vm_messages.PowerOnVm, peer: Peer) -> vm_messages.VmPowered:
        return await self.task(peer, message.vm, message, power.power_on(self.vcenter, message))

    @serves(vm_messages.PowerOffVm, turn=_vm)
    async def power_off(self, message: vm_messages.PowerOffVm, peer: Peer) -> vm_messages.VmPowered:
        return await self.task(peer, message.vm, message, power.power_off(self.vcenter, message))

    @serves(vm_messages.CryptoUnlock, turn=_vm)
    async def crypto_unlock(
        self, message: vm_messages.CryptoUnlock, peer: Peer
    ) -> vm_messages.VmPowered:
        return await self.task(
            peer, message.vm, message, power.crypto_unlock(self.vcenter, message)
        )

    @serves(vm_messages.MigrateVm, turn=_vm)
    async def migrate_vm(
        self, message: vm_messages.MigrateVm, peer: Peer
    ) -> vm_messages.VmRelocated:
        return await self.task(
            peer, message.vm, message, migrate.migrate_vm(self.vcenter, message, self.caller(peer))
        )

    @serves(inventory_messages.ListClusters)
    async def list_clusters(
        self, message: inventory_messages.ListClusters, peer: Peer
    ) -> inventory_messages.ClusterList:
        rows = self.vcenter.inventory.clusters
        left = self.vcenter.inventory.index.clusters.after(message.after)
        info = self.vcenter.cluster_info
        page = first_page(info(rows[name], self.vsan.problems(name)) for name in left)
        return inventory_messages.ClusterList(clusters=page, more=len(page) < len(left))

    @serves(inventory_messages.ListHosts)
    async def list_hosts(
        self, message: inventory_messages.ListHosts, peer: Peer
    ) -> inventory_messages.HostList:
        rows = self.vcenter.inventory.hosts
        left = self.vcenter.inventory.index.hosts.after(message.after)
        page = first_page(self.vcenter.host_info(rows[name]) for name in left)
        return inventory_messages.HostList(hosts=page, more=len(page) < len(left))

    @serves(vm_messages.ListVms)
    async def list_vms(self, message: vm_messages.ListVms, peer: Peer) -> vm_messages.VmList:
        left = self.vcenter.inventory.index.vms.after(message.after)
        page = first_page(self.vcenter.vm_info(name) for name in left)
        return vm_messages.VmList(vms=page, more=len(page) < len(left))

    # ---- events and tasks -------------------------------------------------------------------

    @serves(inventory_messages.ListEvents)
    async def list_events(
        self, message: inventory_messages.ListEvents, peer: Peer
    ) -> inventory_messages.EventList:
        events, more = await self.vcenter.inventory.events_after(message.after, message.limit)
        return inventory_messages.EventList(events=events, more=more)

    @serves(inventory_messages.ListTasks)
    async def list_tasks(
        self, message: inventory_messages.ListTasks, peer: Peer
    ) -> inventory_messages.TaskList:
        left = self.vcenter.tasks.after(message.after)
        page = first_page(left)
        return inventory_messages.TaskList(tasks=page, more=len(page) < len(left))


# ---- relocations ---------------------------------------------------------------------------------
# Completes moves between vCenters whose end a node missed (MOB-07).


class Relocations:
    """Settles moves that a task left open, and tells hosts that were away that a VM has left
    them."""

    def __init__(self, vc: VCenter) -> None:
        self._vc = vc
        period_s = vc.node.knobs.remediation_interval_s
        self._ticker = Ticker(vc.node, vc.clock, "relocations", period_s)

    def start(self) -> None:
        """Begin, at once; nothing at a vCenter without others."""
        if self._vc.config.vcenters:
            self._ticker.start()
            self._vc.node.background("relocations.follow", self._follow())

    async def _follow(self) -> None:
        while True:
            for name in list(self._vc.inventory.relocations):
                try:
                    await self._look_after(name)
                except ProductError as error:
                    self._vc.node.record(
                        "vm.relocation_open", level="warning", vm=name, reason=str(error)
                    )
            await self._ticker.next()

    async def _look_after(self, name: VmName) -> None:
        if not self._is_open(name):
            return
        async with self._vc.node.turn(f"vm:{name}"):
            now = self._vc.inventory.relocations.get(name)
            if now is None or not self._is_open(name):
                return
            if now.state is Relocation.LEAVING:
                await settle(self._vc, now)
            elif now.state is Relocation.STAYED:
                await cancel_arrival(self._vc, now)
            else:
                await clear_registrations(self._vc, now)

    def _is_open(self, name: VmName) -> bool:
        """Whether the VM's move is not settled, or something remains to be done after it."""
        row = self._vc.inventory.relocations.get(name)
        if row is None or row.state is Relocation.LEFT:
            is_here = name in self._vc.inventory.vms
            return row is not None and bool(row.listed_by) and not is_here
        return row.state in (Relocation.LEAVING, Relocation.STAYED)
