"""One vCenter in one life: everything that its tasks work with, built once at start, and the log of
its recent tasks. Also VMCA, its certificate authority.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from protocol.crypto.ek_certificate import endorse
from protocol.crypto.tokens import SERIAL_SIZE, Signer
from protocol.errors import AlreadyExists, InvalidState, NotFound, ProductError, SaveFailed
from protocol.messages.vcenter.inventory import ClusterInfo, HostInfo, TaskInfo, TaskInfoState
from protocol.messages.vcenter.providers import ProviderInfo
from protocol.messages.vcenter.vms import VmInfo
from protocol.releases import Feature, check
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    NodeName,
    ProviderId,
    VmName,
)
from protocol.tpm.structures import PublicArea
from services.runtime.node_certificates import load_signer
from services.runtime.ports import Clock, Database, Disk, Ports, Rng
from services.vcenter.client_info import cluster_info, host_info, provider_info, vm_info
from services.vcenter.config import VcenterConfig
from services.vcenter.events import EventDraft, OncePerBoot
from services.vcenter.hosts.attestation import HostAttestation
from services.vcenter.hosts.availability import HaConfigurations
from services.vcenter.hosts.host_key import HostKeys
from services.vcenter.hosts.key_delivery import HeldKeys, KeyDelivery, KeySharing
from services.vcenter.hosts.pass_queue import GatheredPasses, PassQueue
from services.vcenter.hosts.remediation import Remediation
from services.vcenter.hosts.sessions import HostSessions, Reconciliation
from services.vcenter.inventory import Inventory
from services.vcenter.key_server_status import KeyServerContacts
from services.vcenter.key_use import keys_from_vcenter
from services.vcenter.knobs import VcenterNode
from services.vcenter.placement import Placement, VmMoves
from services.vcenter.provider_health import HealthChecks, integrity_check
from services.vcenter.providers.capabilities import CAPABILITIES, HealthSource
from services.vcenter.providers.native import BackupReminders, Exports, health, is_on
from services.vcenter.providers.registry import ProviderRegistry
from services.vcenter.providers.stored_secrets import Symkey
from services.vcenter.tables import ClusterRow, HostRow, ProviderRow, Relocation, VmRow
from services.vcenter.timers import Ticker
from services.vcenter.trust.authority import Authority
from services.vcenter.trust.clusters import TrustWatch, WorkloadTrust

VMCA_FILE: Final = "vmca"


class Vmca:
    """VMCA, vCenter's certificate authority, which signs certificates of vTPMs (VTPM-04).

    Its key and certificate are a file on vCenter's own disk, created with the first certificate. A
    damaged file is not replaced: nobody would know the new CA. ``name`` is its common name.
    """

    def __init__(self, disk: Disk, rng: Rng, clock: Clock, name: str) -> None:
        self._disk, self._rng, self._clock, self._name = disk, rng, clock, name
        self._signer: Signer | None = None

    async def certify(self, ek: PublicArea) -> bytes:
        """A certificate (DER) for that endorsement key.

        ``OSError`` when the disk fails or the CA's file is damaged, ``InvalidArgument`` for an
        invalid endorsement key.
        """
        signer = await self._load_signer()
        return endorse(signer, ek, self._rng.token(SERIAL_SIZE), self._clock.now())

    async def certificate(self) -> bytes:
        """Its own certificate (DER); empty before it exists, or when it cannot be read."""
        if self._signer is None:
            try:
                await self._disk.read(VMCA_FILE)
                return (await self._load_signer()).certificate
            except OSError:
                return b""
        return self._signer.certificate

    async def _load_signer(self) -> Signer:
        if self._signer is None:
            self._signer = await load_signer(
                self._disk, self._rng, self._clock, self._name, VMCA_FILE
            )
        return self._signer


ENDED_LIMIT: Final = 1000
"""How many ended tasks are kept; running ones always are."""
REASON_LIMIT: Final = 2000
"""Characters of an error's text that are kept."""


class TaskLog:
    """See the module's text."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[int, TaskInfo] = {}
        self._ended: list[int] = []
        self._number = 0

    @contextmanager
    def task(self, name: str, entity: str, user: str) -> Iterator[None]:
        """While inside, a task of ``user`` runs; it ends with the error that leaves the block.

        The end of the life drops the whole list.
        """
        self._number += 1
        number = self._number
        self._tasks[number] = TaskInfo(
            number=number,
            name=name,
            entity=entity,
            user=user,
            state=TaskInfoState.RUNNING,
            start_time=self._clock.now(),
        )
        try:
            yield
        except ProductError as error:
            self._end(number, TaskInfoState.ERROR, type(error).__name__, str(error))
            raise
        except BaseException as error:
            self._end(number, TaskInfoState.ERROR, "RuntimeFault", type(error).__name__)
            raise
        self._end(number, TaskInfoState.SUCCESS)

    def _end(self, number: int, state: TaskInfoState, error: str = "", reason: str = "") -> None:
        self._tasks[number] = msgspec.structs.replace(
            self._tasks[number],
            state=state,
            complete_time=self._clock.now(),
            error=error,
            reason=reason[:REASON_LIMIT],
        )
        self._ended.append(number)
        if len(self._ended) > ENDED_LIMIT:
            del self._tasks[self._ended.pop(0)]

    def after(self, number: int) -> list[TaskInfo]:
        """The tasks with a higher number, in the order in which they began."""
        return [task for task in self._tasks.values() if task.number > number]


class VCenter:
    """The parts of a vCenter, for its tasks. Each is built from earlier ones; none is replaced
    later."""

    def __init__(
        self, node: VcenterNode, ports: Ports, config: VcenterConfig, database: Database
    ) -> None:
        self.node, self.clock, self.rng = node, ports.clock, ports.rng
        self.bus, self.config = ports.bus, config
        self.inventory = Inventory(database, ports.bus, ports.clock)
        repair = Ticker(node, ports.clock, "reconcile", node.knobs.remediation_interval_s)
        self.contacts = KeyServerContacts(node, ports.clock, self._emit, repair.tick_now)
        self._symkey = Symkey(ports.disk, ports.rng)
        self.providers = ProviderRegistry(
            node, ports, self.inventory, self.contacts, self._symkey, config.release
        )
        self.exports = Exports(ports.clock, ports.rng)
        self._reminders = BackupReminders(node, ports.clock, self.inventory)
        self.passes, self.attestations = PassQueue(), PassQueue()
        self.gathered = GatheredPasses(node, ports.clock, self.passes)
        self._once = OncePerBoot()
        self.sessions = HostSessions(
            node, ports, self.inventory, self.passes, self.attestations, self._once
        )
        self._attestation = HostAttestation(
            node, ports.clock, ports.rng, self.inventory, self.sessions, self.attestations
        )
        self.authority = Authority(node, ports.bus, ports.clock, self.inventory)
        self.release = config.release
        watch = TrustWatch(node, ports.clock, self.inventory, self.sessions, self.release)
        self._trust_watch = watch
        self.trust = WorkloadTrust(node, ports, self.inventory, self.sessions, self._once, watch)
        host_keys = HostKeys(node, self.inventory, self.providers, self.contacts, self._once)
        self.held = HeldKeys()
        self.availability = HaConfigurations(node, self.inventory)
        delivery = KeyDelivery(node, config, self.inventory, self.providers, self._once, self.held)
        self.remediation = Remediation(
            node,
            ports.clock,
            config,
            self.inventory,
            self.sessions,
            self.passes,
            host_keys,
            delivery,
            self._once,
            self.held,
            self.trust,
            self.availability,
        )
        self.sharing = KeySharing(
            node, ports.clock, config, self.inventory, self.passes, delivery, self.held
        )
        self.reconciliation = Reconciliation(node, repair, self.sessions, self.passes)
        self.vmca = Vmca(ports.disk, ports.rng, ports.clock, f"VMCA of {node.name}")
        self.tasks = TaskLog(ports.clock)
        self._migrations = 0
        self.vsan_ticker = Ticker(node, ports.clock, "vsan", node.knobs.remediation_interval_s)
        self.vsan_locks: dict[ClusterName, asyncio.Lock] = {}  # one change at a time
        self.moves = VmMoves(node, ports.clock, self.inventory, self.sessions)
        self.placement = Placement(self.inventory, self.sessions)
        self._health = HealthChecks(
            node, ports.clock, self.inventory, self.providers, self.contacts
        )

    async def start(self) -> None:
        """Rebuild the view from the database; then connect hosts and check providers."""
        await self.inventory.load()
        await self._symkey.start()
        await self._check_integrity()
        await self.trust.start()
        for name, row in self.inventory.hosts.items():
            session = self.sessions.add(name)
            if row.disconnected:
                session.disconnect()
            session.start()
        self.remediation.start()
        self.gathered.start()
        self.sharing.start()
        self._attestation.start()
        self.reconciliation.start()
        self._health.start()
        self.authority.start()
        self._trust_watch.start()
        self._reminders.start()
        self.moves.start()

    async def _check_integrity(self) -> None:
        found = integrity_check(self.inventory.providers.values(), self.providers)
        if found:
            try:
                await self.inventory.commit(events=found)
            except SaveFailed as error:  # a full disk must not stop vCenter
                self.node.record("inventory.save_failed", level="warning", reason=str(error))

    def providers_changed(self) -> None:
        """Send hosts with encrypted vSAN the present KMS profile."""
        if any(row.vsan is not None for row in self.inventory.clusters.values()):
            self.vsan_ticker.tick_now()

    async def _emit(self, draft: EventDraft) -> None:
        await self.inventory.commit(events=[draft])

    def check_can(self, feature: Feature) -> None:
        """``NotAvailable`` (NotSupported) when this vCenter's release lacks the feature."""
        check(self.node.name, self.release, feature)

    def check_settled(self, name: VmName) -> None:
        """``InvalidState`` for a task on a VM of which it is unknown whether it has left for
        another vCenter."""
        row = self.inventory.relocations.get(name)
        if row is not None and row.state is Relocation.LEAVING:
            raise InvalidState(f"{name} moves to {row.peer}: whether it is there is not known yet")

    def check_not_expected(self, name: VmName) -> None:
        """``AlreadyExists`` for the name of a VM that is expected from another vCenter."""
        row = self.inventory.relocations.get(name)
        if row is not None and row.state is Relocation.EXPECTED:
            raise AlreadyExists(f"a virtual machine {name} is expected from {row.peer}")

    def next_migration(self) -> str:
        """A new name for a migration; it includes the boot, so no other migration has it."""
        self._migrations += 1
        return f"{self.node.name}/{self.node.boot}/{self._migrations}"

    def forget_host(self, name: NodeName) -> None:
        """The host left the inventory, or was not added: drop everything of it from memory."""
        self.sessions.remove(name)
        self.gathered.forget(name)
        self.passes.forget(name)
        self.attestations.forget(name)
        self.remediation.forget(name)
        self.sharing.forget(name)
        self._once.forget(name)
        self.availability.forget(name)

    # ---- finding ----------------------------------------------------------------------------

    def vm(self, name: VmName) -> VmRow:
        """The VM of that name; ``NotFound`` when there is none."""
        row = self.inventory.vms.get(name)
        if row is None:
            raise NotFound(f"there is no virtual machine {name}")
        return row

    def not_granted(self, row: VmRow) -> tuple[CryptoKeyId, ...]:
        """Those of the VM's keys that vCenter would deliver, but that no task granted to its
        cluster."""
        keys = keys_from_vcenter(row.keys, self.inventory.lock_types())
        return tuple(key for key in keys if not self.inventory.is_granted(row.cluster, key))

    def host(self, name: NodeName) -> HostRow:
        """The host of that name; ``NotFound`` when it is not in the inventory."""
        row = self.inventory.hosts.get(name)
        if row is None:
            raise NotFound(f"host {name} is not in the inventory")
        return row

    def provider(self, name: ProviderId) -> ProviderRow:
        """The key provider of that name; ``NotFound`` when there is none (any more)."""
        row = self.inventory.providers.get(name)
        if row is None:
            raise NotFound(f"there is no key provider {name}")
        return row

    def provider_for(
        self, requested: ProviderId | None, cluster: ClusterName | None = None
    ) -> ProviderId:
        """The provider of a task: the requested one, else the default of the cluster (STD-02).

        ``NotFound`` when there is none of that name, ``InvalidState`` without a default.
        """
        if requested is None:
            default = self.inventory.default_provider(cluster)
            if default is None:
                raise InvalidState("there is no default key provider; name one or set a default")
            return default.name
        if requested not in self.inventory.providers:
            raise NotFound(f"there is no key provider {requested}")
        return requested

    # ---- answers for clients
    # ------------------------------------------------------------------------

    def cluster_info(self, row: ClusterRow, vsan_problems: tuple[str, ...] = ()) -> ClusterInfo:
        """The cluster as a client sees it."""
        index = self.inventory.index
        return cluster_info(
            row,
            hosts=index.hosts_of.count(row.name),
            vms=index.vms_of.count(row.name),
            vsan_problems=vsan_problems,
        )

    def host_info(self, row: HostRow) -> HostInfo:
        """The host as a client sees it."""
        session = self.sessions.get(row.name)
        wanted = self.inventory.wants_safe(row)
        if session is None:
            state = HostConnectionState.DISCONNECTED
            return host_info(row, state, None, 0.0, wanted_safe=wanted)
        return host_info(row, session.state, session.summary, session.seen_at, wanted_safe=wanted)

    def vm_info(self, name: VmName) -> VmInfo:
        """The VM as a client sees it; ``NotFound`` when there is none."""
        row = self.vm(name)
        session = self.sessions.get(row.host)
        connected = session is not None and session.state is HostConnectionState.CONNECTED
        return vm_info(
            row,
            host_connected=connected,
            listed=self.sessions.lists(row.host, row.name),
            not_granted=self.not_granted(row),
        )

    def provider_info(self, name: ProviderId) -> ProviderInfo:
        """The provider as a client sees it; ``NotFound`` when there is none."""
        row = self.provider(name)
        clusters = self.inventory.clusters.values()
        default_of = tuple(c.name for c in clusters if c.default_provider == name)
        if CAPABILITIES[row.management_type].health_from is HealthSource.HOSTS:
            return provider_info(row, self.contacts, default_of, self.trust.provider_health(name))
        if row.native is None:
            return provider_info(row, self.contacts, default_of)
        views = [session.summary for session in self.sessions.list_connected()]
        everywhere = all(view is not None and is_on(view, row) for view in views)
        found = health(row, opens=self.providers.native.opens(row), everywhere=everywhere)
        return provider_info(row, self.contacts, default_of, found)
