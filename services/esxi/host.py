"""The state that all flows of a host share: ports, configuration, key cache, mode and VMs.

State is changed in sections without ``await``. Flows are functions that take an ``EsxiHost``.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from protocol.codec import size_on_wire
from protocol.errors import InvalidPowerState, InvalidState, NotAvailable, NotFound
from protocol.messages.host.crypto import LOG_LIMIT
from protocol.messages.host.session import (
    ClaimedVm,
    HaConfiguration,
    HostSummary,
    ProviderRef,
    VmSummary,
)
from protocol.pages import PAGE_BUDGET, first_page
from protocol.releases import Feature
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyKind,
    ManagementType,
    PowerState,
    ProtectionMode,
    ProviderId,
    VmName,
)
from protocol.tpm.event_log import EventLogError, parse_log
from services.esxi.config import EsxiConfig
from services.esxi.configuration.archive import Archive
from services.esxi.configuration.sections import ConfigurationSection, StoredKey
from services.esxi.ha.folder import ProtectedVms
from services.esxi.keys.key_cache import KeyCache, Storable
from services.esxi.knobs import EsxiNode
from services.esxi.migration.state import Migrations
from services.esxi.providers.capabilities import (
    KeyMeans,
    ResolvedKeyFacts,
    is_usable_on_host,
    next_means,
)
from services.esxi.providers.trusted.attestation_state import TrustState
from services.esxi.providers.trusted.attestation_state import view as trust_view
from services.esxi.vcenter_connection import ReportedProblems, Uplink, add_claims
from services.esxi.vms.file_formats import PowerRecord
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vsan.disk_groups import DiskGroups
from services.runtime.ports import Datastore, Ports
from services.runtime.virtual_tpm import VirtualTpms


class EsxiHost:
    """One life of one host. ``archive`` and ``datastore`` exist from step B3 on.

    ``host_key`` is the host key in memory. It outlives its removal from cache and store until the
    next boot, because a safe host cannot become prepared. ``derived``: cached keys that this host
    derived from a KDK. ``disproved``: keys that the present KDK does not give, or must not give.
    """

    archive: Archive
    datastore: Datastore

    def __init__(self, node: EsxiNode, ports: Ports, config: EsxiConfig) -> None:
        self.node, self.ports = node, ports
        release = node.power.firmware.banks.release
        self.config = msgspec.structs.replace(config, version=release) if release else config
        self.disk, self.rng, self.clock = ports.disk, ports.rng, ports.clock
        self.tpm = ports.tpm if node.power.firmware.tpm_enabled else None
        self.options: dict[str, str] = {}
        self.event_log = b""
        self.keys = KeyCache()
        self.host_key: KeyMaterial | None = None
        self.derived: set[CryptoKeyId] = set()
        self.disproved: set[CryptoKeyId] = set()
        self.trust = TrustState()
        self.vms: dict[VmName, RegisteredVm] = {}
        self.migrations = Migrations()
        self.vsan = DiskGroups()
        self.problems = ReportedProblems()
        self.uplink = Uplink(node, ports, config.vcenter)
        self.protection = ProtectedVms(node.name, lambda: self.ha.epoch if self.ha else None)
        self.claims: tuple[ClaimedVm, ...] = ()
        self._view: HostSummary | None = None
        self._views = 0  # how many different views there were

    @property
    def measured(self) -> bool:
        """Whether the TPM has the measurements of this boot. Data sealed without them could not be
        unsealed by another boot."""
        return bool(self.event_log)

    @property
    def virtual_tpms(self) -> VirtualTpms:
        """The virtual TPMs of its VMs; ``NotAvailable`` on a node that has none."""
        if self.ports.vtpms is None:
            raise NotAvailable(f"{self.node.name} was made without virtual TPMs")
        return self.ports.vtpms

    @property
    def build(self) -> str:
        """The signed image of this boot."""
        return self.node.power.firmware.build or self.config.build

    # ---- keys -------------------------------------------------------------------------------

    @property
    def mode(self) -> HostCryptoState:
        """The host encryption mode in force; ``crypto_mode`` has the allowed steps."""
        return self.archive.now.crypto_state

    def find_stored_key(self, key: CryptoKeyId) -> StoredKey | None:
        """The entry of the persisted store, used or not."""
        return self.archive.now.store.get(key)

    def provider(self, name: ProviderId) -> ProviderRef | None:
        """The provider of that name in this host's list; None when there is none."""
        return next((ref for ref in self.archive.now.providers if ref.provider_id == name), None)

    def management_type(self, key: CryptoKeyId) -> ManagementType:
        """The management type of the provider of ``key``; see ``management_type_of``."""
        return self.management_type_of(key.provider_id)

    def management_type_of(self, name: ProviderId) -> ManagementType:
        """The management type of a provider; UNKNOWN when neither the host's list nor its applied
        configuration names it."""
        ref = self.provider(name)
        if ref is not None:
            return ref.management_type
        trusted = self.archive.now.trusted
        listed = trusted is not None and name in trusted.providers
        return ManagementType.TRUST_AUTHORITY if listed else ManagementType.UNKNOWN

    def kdk(self, provider: ProviderId) -> KeyMaterial | None:
        """The key derivation key of a native provider; None when it is not on this host."""
        kdks = self.archive.now.kdks
        return next((e.material for e in kdks if e.key.provider_id == provider), None)

    def storable(self, entries: Iterable[StoredKey]) -> Storable:
        """Those of ``entries`` that the persisted store may hold.

        None while no TPM seals the configuration, whatever enabled key persistence (KP-01, KP-06);
        never a derived key (KP-05), nor a KEK of vSAN before 7.0 U3 (KP-08).
        """
        if not self.sealed_by_tpm:
            return Storable(())
        may = [e for e in entries if e.key not in self.derived and self._persists(e.kind)]
        return Storable(tuple(may))

    @property
    def sealed_by_tpm(self) -> bool:
        """Whether the TPM seals the configuration: mode TPM (CFG-01)."""
        return self.archive.protection.mode is ProtectionMode.TPM

    def _persists(self, kind: KeyKind) -> bool:
        return kind is not KeyKind.VSAN or self.config.has(Feature.VSAN_PERSISTENCE)

    def facts(self, key: CryptoKeyId, *, may_ask: bool = False) -> ResolvedKeyFacts:
        """What this host knows of ``key`` now; ``may_ask``: vCenter may be asked for it."""
        now = self.archive.now
        cached = key in self.keys
        return ResolvedKeyFacts(
            cached=cached,
            stored=not cached and now.persistence and self.find_stored_key(key) is not None,
            persistence=now.persistence,
            provider=self.management_type(key),
            has_kdk=self.kdk(key.provider_id) is not None and key not in self.disproved,
            may_ask=may_ask and self.uplink.connected,
        )

    def is_excluded(self, provider: ProviderId) -> bool:
        """Whether the provider wants a TPM that this host does not have (NKP-12)."""
        ref = self.provider(provider)
        return ref is not None and ref.tpm_required and self.tpm is None

    def missing(self, keys: tuple[CryptoKeyId, ...]) -> tuple[CryptoKeyId, ...]:
        """The keys that this host cannot get by any means of its own: they are why a VM is locked.

        A provider that excludes this host locks nothing: no key could come (NKP-12). Nor does a key
        of a trusted provider that was not requested yet (KPS-02).
        """
        cached = self.keys  # most keys are cached, so the cache is checked first
        return tuple([k for k in keys if k not in cached and self._lacks(k)])

    def _lacks(self, key: CryptoKeyId) -> bool:
        facts = self.facts(key)
        if next_means(facts) is KeyMeans.KEY_PROVIDER_SERVICE:
            return key in self.trust.unobtainable
        return not is_usable_on_host(facts) and not self.is_excluded(key.provider_id)

    def key_sections(self) -> ConfigurationSection:
        """The sections to save after a change of keys: none under ``config_save = hourly``
        (C11)."""
        immediate = self.node.knobs.config_save == "immediate"
        return ConfigurationSection.KEYS if immediate else ConfigurationSection.NOTHING

    async def save(self, sections: ConfigurationSection) -> None:
        """Return when a change made just now is durable. The handler's turn ends before the wait.

        Later changes therefore share this write or the next one. ``now`` changes in the order of
        turns, and each write takes its state at that time, so the disk never has an order that did
        not happen. ``SaveFailed``: see ``Archive.save``.
        """
        self.node.end_turn()
        await self.archive.save(sections)

    # ---- high availability ------------------------------------------------------------------

    @property
    def ha(self) -> HaConfiguration | None:
        """The HA configuration in force; None when HA is off here."""
        return self.archive.now.ha

    def power_record(self, wanted: PowerState) -> PowerRecord:
        """The record of a power command accepted here, which makes this host the VM's owner."""
        epoch = "" if self.ha is None else self.ha.epoch
        return PowerRecord(wanted, self.node.name, epoch)

    # ---- views ------------------------------------------------------------------------------

    def vm_summary(self, vm: RegisteredVm) -> VmSummary:
        """A VM as vCenter sees it, with the keys that are missing for it here."""
        locked = vm.config if vm.guest is None else None
        return vm.summary(() if locked is None else self.missing(locked.keys))

    async def look_at_locks(self) -> None:
        """Update which other hosts hold the locks of VMs that do not run here, for the next
        ``view``."""
        idle = [vm for vm in self.vms.values() if vm.guest is None]
        holders = await self.datastore.holders([vm.name for vm in idle]) if idle else {}
        for vm in idle:
            holder = holders.get(vm.name)
            vm.locked_by = None if holder == self.node.name else holder

    def summary(self, vms: tuple[VmSummary, ...] = ()) -> HostSummary:
        """The host's state now, with the given VMs."""
        now = self.archive.now
        return HostSummary(
            host=self.node.name,
            boot=self.node.boot,
            version=self.config.version,
            crypto_state=now.crypto_state,
            crypto_key_id=now.host_key,
            crypto_key_check=now.host_key_check,
            tpm_present=self.tpm is not None,
            protection_mode=self.archive.protection.mode,
            key_persistence=now.persistence,
            cached_keys=len(self.keys),
            stored_keys=len(self.archive.stored),
            providers=now.providers,
            kdks=tuple(entry.key.provider_id for entry in now.kdks),
            vms=vms,
            session=self.uplink.session,
            recovery_id=self.archive.protection.recovery_id,
            in_maintenance_mode=now.maintenance,
            trusted=trust_view(now.trusted, self.trust),
            problems=self.problems.latest or msgspec.UNSET,
        )

    def view(self) -> HostSummary:
        """The host's complete view of itself, with its VMs by name."""
        return self.summary(tuple([self.vm_summary(self.vms[name]) for name in sorted(self.vms)]))

    def view_for_vcenter(self) -> HostSummary:
        """The view that vCenter gets: the host's own, with the claimed VMs."""
        view = self.view()
        if self.claims:
            view = add_claims(view, self.claims, self.missing)
        if view != self._view:
            self._view, self._views = view, self._views + 1
        return view

    @property
    def version(self) -> str:
        """The version of the latest ``view_for_vcenter``. Different views have different versions,
        also across lives.

        No code has to report a change: views are compared when they are requested.
        """
        return f"{self.node.boot}/{self._views}"

    # ---- virtual machines -------------------------------------------------------------------

    def check_takes_vms(self) -> None:
        """``InvalidState`` in maintenance mode, in which no VM may arrive or start."""
        if self.archive.now.maintenance:
            raise InvalidState(f"{self.node.name} is in maintenance mode")

    def is_log_complete(self) -> bool:
        """Whether the event log recorded every entry (ATT-10). An unreadable log did not."""
        try:
            return len(parse_log(self.event_log)) <= LOG_LIMIT
        except EventLogError:
            return False

    def require_vm(self, name: VmName) -> RegisteredVm:
        """The VM of that name; ``NotFound`` when it is not registered here."""
        vm = self.vms.get(name)
        if vm is None:
            raise NotFound(f"{name} is not registered on {self.node.name}")
        return vm

    def require_powered_off(self, name: VmName, why: str) -> RegisteredVm:
        """``require_vm``; ``InvalidPowerState`` with the reason ``why`` while its guest runs
        here."""
        vm = self.require_vm(name)
        if vm.guest is not None:
            raise InvalidPowerState(f"{name} is running: {why}")
        return vm

    def running(self) -> tuple[RegisteredVm, ...]:
        """The VMs whose guests run here, in order of registration."""
        return tuple(vm for vm in self.vms.values() if vm.power is PowerState.ON)


def page(view: HostSummary, after: VmName | None = None) -> HostSummary:
    """``view`` with as many VMs after ``after`` as fit into a message."""
    left = tuple(vm for vm in view.vms if vm.vm > after) if after else view.vms
    beside = size_on_wire(view.providers) + size_on_wire(view.kdks)
    if view.trusted is not msgspec.UNSET:
        beside += size_on_wire(view.trusted)
    listed = first_page(left, budget=PAGE_BUDGET - beside)
    return msgspec.structs.replace(view, vms=listed, more_vms=len(listed) < len(left))
