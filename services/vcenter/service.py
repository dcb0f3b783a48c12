"""vCenter's handlers: who may ask what, in whose turn, and which task answers.

Work on one VM takes its turn by the VM's name, work on a host by the host's, work on the list
of providers in one turn of its own; each in order of acceptance. Clients come by the
node's own console (``Peer.local``); over the bus speak hosts, each for itself, and other vCenters
about VMs that move.
"""

from __future__ import annotations

from typing import Any, ClassVar

from protocol.authorization import Privilege
from protocol.errors import NoPermission, NotFound
from protocol.messages.base import Request
from protocol.messages.host import Done
from protocol.messages.pages import first_page
from protocol.messages.vcenter import (
    AcknowledgeAlarm,
    AddDisk,
    AddHost,
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
    ReconfigureComputeResource,
    ReconnectHost,
    RecryptVm,
    RegisterVm,
    RemoveDisk,
    RemoveHost,
    SetCryptoMode,
    TaskList,
    UnregisterVm,
    VmCreated,
    VmDecrypted,
    VmDisks,
    VmEncrypted,
    VmList,
    VmPowered,
    VmRecrypted,
    VmRegistered,
    VmRelocated,
)
from protocol.terms import Role
from services.runtime.ports import Ports
from services.runtime.service import Peer, serves
from services.vcenter.authorization.handlers import AuthorizationHandlers
from services.vcenter.authorization.needs import NEEDS
from services.vcenter.config import VcenterConfig
from services.vcenter.copies_handlers import CopiesHandlers
from services.vcenter.hosts.session import HostSession
from services.vcenter.kmip_handlers import KmipHandlers
from services.vcenter.knobs import VcenterNode
from services.vcenter.relocation_handlers import RelocationHandlers
from services.vcenter.relocations import Relocations
from services.vcenter.tables import SCHEMA
from services.vcenter.tasks import (
    cluster,
    connection,
    disks,
    encrypt,
    host,
    migrate,
    power,
    recrypt,
    registration,
    vm,
)
from services.vcenter.trust.handlers import TrustHandlers
from services.vcenter.vcenter import VCenter
from services.vcenter.vsan.keeper import VsanKeeper
from services.vcenter.vsan_handlers import VsanHandlers
from services.vcenter.vtpm_handlers import VtpmHandlers


def _vm(message: Any) -> str:
    return f"vm:{message.vm}"


def _host(message: Any) -> str:
    return f"host:{message.host}"


def _cluster(message: Any) -> str:
    return f"cluster:{message.cluster}"


class VcenterService(
    TrustHandlers,
    VsanHandlers,
    VtpmHandlers,
    KmipHandlers,
    CopiesHandlers,
    RelocationHandlers,
    AuthorizationHandlers,
):
    """See the module's text. ``vcenter`` is there from ``start`` on."""

    role: ClassVar[Role] = Role.VCENTER

    def __init__(
        self, node: VcenterNode, ports: Ports, config: VcenterConfig | None = None
    ) -> None:
        super().__init__(node, ports)
        self._ports, self._config = ports, config or VcenterConfig()

    async def start(self) -> None:
        """Rebuild the view from the database; then connect hosts and look after providers."""
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
                raise NoPermission(f"{peer.node} is no other vCenter that this one knows")
            case _:
                if not peer.local:
                    raise NoPermission(f"{peer.node} is no client of vCenter")
                if type(message) not in NEEDS:
                    self.caller(peer).check((Privilege.READ,), type(message).__name__)

    def _ringing(self, peer: Peer) -> HostSession:
        """The host that rings, which speaks for itself only: the bus has proved its name."""
        session = None if peer.local else self.vcenter.sessions.get(peer.node)
        if session is None:
            raise NotFound(f"host {peer.node} is not in the inventory")
        return session

    # ---- from hosts -------------------------------------------------------------------------

    @serves(HostChanged)
    async def host_changed(self, message: HostChanged, peer: Peer) -> Done:
        """Taken at once; vCenter looks at the host afterwards."""
        self._ringing(peer).rang(message.boot)
        return Done()

    @serves(HaReport)
    async def ha_report(self, message: HaReport, peer: Peer) -> Done:
        """The primary of a cluster tells what its agents did."""
        await self.vcenter.availability.reported(peer.node, message.incidents)
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
            peer, message.host, message, connection.disconnect_host(self.vcenter, message)
        )

    @serves(ReconnectHost, turn=_host)
    async def reconnect_host(self, message: ReconnectHost, peer: Peer) -> HostReconnected:
        return await self.task(
            peer, message.host, message, connection.reconnect_host(self.vcenter, message)
        )

    @serves(EnterMaintenanceMode, turn=_host)
    async def enter_maintenance_mode(self, message: EnterMaintenanceMode, peer: Peer) -> Done:
        work = connection.enter_maintenance_mode(self.vcenter, message)
        return await self.task(peer, message.host, message, work)

    @serves(ExitMaintenanceMode, turn=_host)
    async def exit_maintenance_mode(self, message: ExitMaintenanceMode, peer: Peer) -> Done:
        work = connection.exit_maintenance_mode(self.vcenter, message)
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
        work = cluster.reconfigure(self.vcenter, message)
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
            peer, message.vm, message, vm.create_vm(self.vcenter, message, self.caller(peer))
        )

    @serves(RegisterVm, turn=_vm)
    async def register_vm(self, message: RegisterVm, peer: Peer) -> VmRegistered:
        work = registration.register_vm(self.vcenter, message, self.caller(peer))
        return await self.task(peer, message.vm, message, work)

    @serves(UnregisterVm, turn=_vm)
    async def unregister_vm(self, message: UnregisterVm, peer: Peer) -> Done:
        work = registration.unregister_vm(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(DestroyVm, turn=_vm)
    async def destroy_vm(self, message: DestroyVm, peer: Peer) -> Done:
        work = registration.destroy_vm(self.vcenter, message)
        return await self.task(peer, message.vm, message, work)

    @serves(EncryptVm, turn=_vm)
    async def encrypt_vm(self, message: EncryptVm, peer: Peer) -> VmEncrypted:
        return await self.task(
            peer, message.vm, message, encrypt.encrypt_vm(self.vcenter, message, self.caller(peer))
        )

    @serves(RecryptVm, turn=_vm)
    async def recrypt_vm(self, message: RecryptVm, peer: Peer) -> VmRecrypted:
        return await self.task(
            peer, message.vm, message, recrypt.recrypt_vm(self.vcenter, message, self.caller(peer))
        )

    @serves(DecryptVm, turn=_vm)
    async def decrypt_vm(self, message: DecryptVm, peer: Peer) -> VmDecrypted:
        return await self.task(peer, message.vm, message, recrypt.decrypt_vm(self.vcenter, message))

    @serves(AddDisk, turn=_vm)
    async def add_disk(self, message: AddDisk, peer: Peer) -> VmDisks:
        return await self.task(
            peer, message.vm, message, disks.add_disk(self.vcenter, message, self.caller(peer))
        )

    @serves(RemoveDisk, turn=_vm)
    async def remove_disk(self, message: RemoveDisk, peer: Peer) -> VmDisks:
        return await self.task(peer, message.vm, message, disks.remove_disk(self.vcenter, message))

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
