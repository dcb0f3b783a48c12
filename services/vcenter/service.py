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
from protocol.messages import vcenter as m
from protocol.messages.base import Request
from protocol.messages.host import Done
from protocol.messages.vcenter import (
    AcknowledgeAlarm,
    AddDisk,
    AddHost,
    AddVtpm,
    ClearTpmRecord,
    ClusterList,
    ConfigureCryptoKey,
    CreateVm,
    CryptoUnlock,
    DecryptVm,
    DestroyVm,
    DisableCrypto,
    DisconnectHost,
    EncryptVm,
    EndRelocation,
    EnterMaintenanceMode,
    EventList,
    ExitMaintenanceMode,
    HaReport,
    HostAdded,
    HostChanged,
    HostList,
    HostReconnected,
    ListClusters,
    ListEvents,
    ListHosts,
    ListTasks,
    ListVms,
    MigrateVm,
    PowerOffVm,
    PowerOnVm,
    PrepareCrypto,
    PrepareRelocation,
    QueryVmca,
    ReconfigureComputeResource,
    ReconnectHost,
    RecryptVm,
    RegisterVm,
    RemoveDisk,
    RemoveHost,
    RemoveVtpm,
    SetCryptoMode,
    TaskList,
    UnregisterVm,
    VmcaState,
    VmCreated,
    VmDecrypted,
    VmDisks,
    VmEncrypted,
    VmList,
    VmPowered,
    VmReconfigured,
    VmRecrypted,
    VmRegistered,
    VmRelocated,
)
from protocol.messages.vcenter.providers import (
    ClientCert,
    ClientCsr,
    GenerateClientCsr,
    GenerateSelfSignedClientCert,
    LoseClientKey,
    LoseKmipPasswords,
    RetrieveClientCert,
    RetrieveClientCsr,
    RetrieveKmipServerCert,
    ServerCert,
    UpdateKmsSignedCsrClientCert,
    UploadClientCert,
    UploadKmipServerCert,
)
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

    @serves(AddVtpm, turn=_vm)
    async def add_vtpm(self, message: AddVtpm, peer: Peer) -> VmReconfigured:
        """See ``tasks.vtpm``."""
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.add_vtpm(self.vcenter, message, self.caller(peer)),
        )

    @serves(RemoveVtpm, turn=_vm)
    async def remove_vtpm(self, message: RemoveVtpm, peer: Peer) -> VmReconfigured:
        """See ``tasks.vtpm``."""
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.remove_vtpm(self.vcenter, message, self.caller(peer)),
        )

    @serves(QueryVmca)
    async def query_vmca(self, message: QueryVmca, peer: Peer) -> VmcaState:
        """VMCA's certificate, for verifying those of vTPMs."""
        return VmcaState(certificate=await self.vcenter.vmca.certificate())


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

    @serves(m.RelocateVm, turn=_vm)
    async def relocate_vm(self, message: m.RelocateVm, peer: Peer) -> m.VmRelocated:
        """See ``tasks.relocate``."""
        work = relocate.relocate_vm(self.vcenter, message, peer.user or ADMINISTRATOR)
        return await self.task(peer, message.vm, message, work)

    @serves(m.PrepareRelocation, turn=_vm)
    async def prepare_relocation(
        self, message: m.PrepareRelocation, peer: Peer
    ) -> m.RelocationPrepared:
        """See ``tasks.arrive``. The other vCenter names the user; at the console it is the
        console's user."""
        if not peer.local:
            peer = msgspec.structs.replace(peer, user=message.user)
        work = relocate.prepare(self.vcenter, message, self.caller(peer), peer.node)
        return await self.task(peer, message.vm, message, work)

    @serves(m.EndRelocation, turn=_vm)
    async def end_relocation(self, message: m.EndRelocation, peer: Peer) -> m.RelocationEnded:
        """See ``tasks.arrive``."""
        return await relocate.end(self.vcenter, message, peer.node)


# ---- kmip handlers -------------------------------------------------------------------------------
# vCenter's handlers for trust between it and KMIP servers.


def _providers(message: Any) -> str:
    return "providers"


class KmipHandlers(ProviderHandlers):
    """Trust between vCenter and KMIP servers; what each does is in ``tasks.kmip_trust``."""

    @serves(RetrieveClientCert)
    async def retrieve_client_cert(self, message: RetrieveClientCert, peer: Peer) -> ClientCert:
        self.check(peer, message)
        return kmip_servers.retrieve_client(self.vcenter, message)

    @serves(GenerateSelfSignedClientCert, turn=_providers)
    async def generate_client_cert(
        self, message: GenerateSelfSignedClientCert, peer: Peer
    ) -> ClientCert:
        work = kmip_servers.generate_client(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(UploadClientCert, turn=_providers)
    async def upload_client_cert(self, message: UploadClientCert, peer: Peer) -> ClientCert:
        work = kmip_servers.upload_client(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(GenerateClientCsr, turn=_providers)
    async def generate_client_csr(self, message: GenerateClientCsr, peer: Peer) -> ClientCsr:
        work = kmip_servers.generate_request(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(RetrieveClientCsr)
    async def retrieve_client_csr(self, message: RetrieveClientCsr, peer: Peer) -> ClientCsr:
        self.check(peer, message)
        return kmip_servers.retrieve_request(self.vcenter, message)

    @serves(UpdateKmsSignedCsrClientCert, turn=_providers)
    async def update_signed_client_cert(
        self, message: UpdateKmsSignedCsrClientCert, peer: Peer
    ) -> ClientCert:
        work = kmip_servers.update_signed(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(LoseClientKey, turn=_providers)
    async def lose_client_key(self, message: LoseClientKey, peer: Peer) -> ClientCert:
        work = kmip_servers.lose_client_key(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(LoseKmipPasswords, turn=_providers)
    async def lose_kmip_passwords(self, message: LoseKmipPasswords, peer: Peer) -> Done:
        work = kmip_servers.lose_passwords(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)

    @serves(RetrieveKmipServerCert)
    async def retrieve_server_cert(self, message: RetrieveKmipServerCert, peer: Peer) -> ServerCert:
        self.check(peer, message)
        return await kmip_servers.retrieve_server(self.vcenter, message)

    @serves(UploadKmipServerCert, turn=_providers)
    async def upload_server_cert(self, message: UploadKmipServerCert, peer: Peer) -> Done:
        work = kmip_servers.upload_server(self.vcenter, message)
        return await self.task(peer, message.provider, message, work)


# ---- copies handlers -----------------------------------------------------------------------------
# vCenter's handlers for clones, templates and snapshots, and the stream of a migration.


class VcenterCopyHandlers(ProviderHandlers):
    """Clones, templates and snapshots."""

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
            case HostChanged() | HaReport():
                self._ringing(peer)
            case EndRelocation() | PrepareRelocation() if peer.node in self._config.vcenters:
                pass
            case EndRelocation():
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

    @serves(HostChanged)
    async def host_changed(self, message: HostChanged, peer: Peer) -> Done:
        """Accepted at once; vCenter looks at the host afterwards."""
        self._ringing(peer).rang(message.boot)
        return Done()

    @serves(HaReport)
    async def ha_report(self, message: HaReport, peer: Peer) -> Done:
        """The primary of a cluster reports what its agents did."""
        await self.vcenter.availability.record_incidents(peer.node, message.incidents)
        return Done()

    # ---- hosts and VMs ----------------------------------------------------------------------

    @serves(AddHost, turn=_host)
    async def add_host(self, message: AddHost, peer: Peer) -> HostAdded:
        return await self.task(peer, message.host, message, host.add_host(self.vcenter, message))

    @serves(RemoveHost, turn=_host)
    async def remove_host(self, message: RemoveHost, peer: Peer) -> Done:
        return await self.task(peer, message.host, message, host.remove_host(self.vcenter, message))

    @serves(DisconnectHost, turn=_host)
    async def disconnect_host(self, message: DisconnectHost, peer: Peer) -> Done:
        return await self.task(
            peer, message.host, message, host.disconnect_host(self.vcenter, message)
        )

    @serves(ReconnectHost, turn=_host)
    async def reconnect_host(self, message: ReconnectHost, peer: Peer) -> HostReconnected:
        return await self.task(
            peer, message.host, message, host.reconnect_host(self.vcenter, message)
        )

    @serves(EnterMaintenanceMode, turn=_host)
    async def enter_maintenance_mode(self, message: EnterMaintenanceMode, peer: Peer) -> Done:
        work = host.enter_maintenance_mode(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(ExitMaintenanceMode, turn=_host)
    async def exit_maintenance_mode(self, message: ExitMaintenanceMode, peer: Peer) -> Done:
        work = host.exit_maintenance_mode(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(ConfigureCryptoKey, turn=_host)
    async def configure_crypto_key(self, message: ConfigureCryptoKey, peer: Peer) -> Done:
        work = host.configure_crypto_key(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(PrepareCrypto, turn=_host)
    async def prepare_crypto(self, message: PrepareCrypto, peer: Peer) -> Done:
        work = host.prepare_crypto(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(DisableCrypto, turn=_host)
    async def disable_crypto(self, message: DisableCrypto, peer: Peer) -> Done:
        work = host.disable_crypto(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(SetCryptoMode, turn=_cluster)
    async def set_crypto_mode(self, message: SetCryptoMode, peer: Peer) -> Done:
        work = host.set_crypto_mode(self.vcenter, message)
        return await self.task(peer, message.cluster, message, work)

    @serves(ReconfigureComputeResource, turn=_cluster)
    async def reconfigure_cluster(self, message: ReconfigureComputeResource, peer: Peer) -> Done:
        work = host.reconfigure(self.vcenter, message)
        return await self.task(peer, message.cluster, message, work)

    @serves(ClearTpmRecord, turn=_host)
    async def clear_tpm_record(self, message: ClearTpmRecord, peer: Peer) -> Done:
        work = host.clear_tpm_record(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(AcknowledgeAlarm, turn=_host)
    async def acknowledge_alarm(self, message: AcknowledgeAlarm, peer: Peer) -> Done:
        work = host.acknowledge_alarm(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(CreateVm, turn=_vm)
    async def create_vm(self, message: CreateVm, peer: Peer) -> VmCreated:
        return await self.task(
            peer,
            message.vm,
            message,
            vm_lifecycle.create_vm(self.vcenter, message, self.caller(peer)),
        )

    @serves(RegisterVm, turn=_vm)
    async def register_vm(self, message: RegisterVm, peer: Peer) -> VmRegistered:
        work = vm_lifecycle.register_vm(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.vm, message, work)

    @serves(UnregisterVm, turn=_vm)
    async def unregister_vm(self, message: UnregisterVm, peer: Peer) -> Done:
        work = vm_lifecycle.unregister_vm(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(DestroyVm, turn=_vm)
    async def destroy_vm(self, message: DestroyVm, peer: Peer) -> Done:
        work = vm_lifecycle.destroy_vm(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(EncryptVm, turn=_vm)
    async def encrypt_vm(self, message: EncryptVm, peer: Peer) -> VmEncrypted:
        return await self.task(
            peer, message.vm, message, encrypt.encrypt_vm(self.vcenter, message, self.caller(peer))
        )

    @serves(RecryptVm, turn=_vm)
    async def recrypt_vm(self, message: RecryptVm, peer: Peer) -> VmRecrypted:
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.recrypt_vm(self.vcenter, message, self.caller(peer)),
        )

    @serves(DecryptVm, turn=_vm)
    async def decrypt_vm(self, message: DecryptVm, peer: Peer) -> VmDecrypted:
        return await self.task(
            peer, message.vm, message, reconfigure.decrypt_vm(self.vcenter, message)
        )

    @serves(AddDisk, turn=_vm)
    async def add_disk(self, message: AddDisk, peer: Peer) -> VmDisks:
        return await self.task(
            peer,
            message.vm,
            message,
            reconfigure.add_disk(self.vcenter, message, self.caller(peer)),
        )

    @serves(RemoveDisk, turn=_vm)
    async def remove_disk(self, message: RemoveDisk, peer: Peer) -> VmDisks:
        return await self.task(
            peer, message.vm, message, reconfigure.remove_disk(self.vcenter, message)
        )

    @serves(PowerOnVm, turn=_vm)
    async def power_on(self, message: PowerOnVm, peer: Peer) -> VmPowered:
        return await self.task(peer, message.vm, message, power.power_on(self.vcenter, message))

    @serves(PowerOffVm, turn=_vm)
    async def power_off(self, message: PowerOffVm, peer: Peer) -> VmPowered:
        return await self.task(peer, message.vm, message, power.power_off(self.vcenter, message))

    @serves(CryptoUnlock, turn=_vm)
    async def crypto_unlock(self, message: CryptoUnlock, peer: Peer) -> VmPowered:
        return await self.task(
            peer, message.vm, message, power.crypto_unlock(self.vcenter, message)
        )

    @serves(MigrateVm, turn=_vm)
    async def migrate_vm(self, message: MigrateVm, peer: Peer) -> VmRelocated:
        return await self.task(
            peer, message.vm, message, migrate.migrate_vm(self.vcenter, message, self.caller(peer))
        )

    @serves(ListClusters)
    async def list_clusters(self, message: ListClusters, peer: Peer) -> ClusterList:
        rows = self.vcenter.inventory.clusters
        left = self.vcenter.inventory.index.clusters.after(message.after)
        info = self.vcenter.cluster_info
        page = first_page(info(rows[name], self.vsan.problems(name)) for name in left)
        return ClusterList(clusters=page, more=len(page) < len(left))

    @serves(ListHosts)
    async def list_hosts(self, message: ListHosts, peer: Peer) -> HostList:
        rows = self.vcenter.inventory.hosts
        left = self.vcenter.inventory.index.hosts.after(message.after)
        page = first_page(self.vcenter.host_info(rows[name]) for name in left)
        return HostList(hosts=page, more=len(page) < len(left))

    @serves(ListVms)
    async def list_vms(self, message: ListVms, peer: Peer) -> VmList:
        left = self.vcenter.inventory.index.vms.after(message.after)
        page = first_page(self.vcenter.vm_info(name) for name in left)
        return VmList(vms=page, more=len(page) < len(left))

    # ---- events and tasks -------------------------------------------------------------------

    @serves(ListEvents)
    async def list_events(self, message: ListEvents, peer: Peer) -> EventList:
        events, more = await self.vcenter.inventory.events_after(message.after, message.limit)
        return EventList(events=events, more=more)

    @serves(ListTasks)
    async def list_tasks(self, message: ListTasks, peer: Peer) -> TaskList:
        left = self.vcenter.tasks.after(message.after)
        page = first_page(left)
        return TaskList(tasks=page, more=len(page) < len(left))


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
