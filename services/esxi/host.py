"""What all flows of a host share: its ports, configuration, key cache, mode and VMs.

State is changed in sections without ``await``; flows live in the modules that take an ``EsxiHost``.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from protocol.codec import size_on_wire
from protocol.errors import InvalidPowerState, InvalidState, NotAvailable, NotFound
from protocol.messages.host import (
    LOG_LIMIT,
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
from services.esxi.claims import with_claims
from services.esxi.config import EsxiConfig
from services.esxi.configuration.archive import Archive
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.configuration.stored_keys import StoredKey
from services.esxi.ha.folder import ProtectedVms
from services.esxi.keys.cache import KeyCache
from services.esxi.keys.persistence import Storable
from services.esxi.keys.resolve import KeyMeans, ResolvedKeyFacts, next_means, on_the_host
from services.esxi.knobs import EsxiNode
from services.esxi.migration.state import Migrations
from services.esxi.problems import Problems
from services.esxi.providers.trusted.state import TrustState
from services.esxi.providers.trusted.telling import view as trust_view
from services.esxi.uplink import Uplink
from services.esxi.vms.power_file import PowerRecord
from services.esxi.vms.vm import RegisteredVm
from services.esxi.vsan.groups import DiskGroups
from services.runtime.ports import Datastore, Ports
from services.runtime.virtual_tpm import VirtualTpms


class EsxiHost:
    """One life of one host. ``archive`` and ``datastore`` are there from step B3 on.

    ``host_key`` is the host key in memory: it outlives its removal from cache and store until
    the next boot (there is no way from safe back to prepared without one). ``derived``: keys in
    the cache that this host made of a KDK; ``disproved``: keys that the KDK of now
    does not give, or must not.
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
        self.problems = Problems()
        self.uplink = Uplink(node, ports, config.vcenter)
        self.protection = ProtectedVms(node.name, lambda: self.ha.epoch if self.ha else None)
        self.claims: tuple[ClaimedVm, ...] = ()
        self._view: HostSummary | None = None
        self._views = 0  # how many that differ from the one before

    @property
    def measured(self) -> bool:
        """Whether the TPM has the measurements of this boot: what is sealed without them, no
        other boot can open."""
        return bool(self.event_log)

    @property
    def virtual_tpms(self) -> VirtualTpms:
        """What plays the TPMs of its VMs; ``NotAvailable`` on a node that was made without."""
        if self.ports.vtpms is None:
            raise NotAvailable(f"{self.node.name} was made without virtual TPMs")
        return self.ports.vtpms

    @property
    def build(self) -> str:
        """The signed image that this life booted."""
        return self.node.power.firmware.build or self.config.build

    # ---- keys -------------------------------------------------------------------------------

    @property
    def mode(self) -> HostCryptoState:
        """The host encryption mode in force; ``crypto_mode`` says what may follow."""
        return self.archive.now.crypto_state

    def find_stored_key(self, key: CryptoKeyId) -> StoredKey | None:
        """The entry of the persisted store, used or not."""
        return self.archive.now.store.get(key)

    def provider(self, name: ProviderId) -> ProviderRef | None:
        """The provider of that name in this host's list; None when there is none."""
        return next((ref for ref in self.archive.now.providers if ref.provider_id == name), None)

    def management_type(self, key: CryptoKeyId) -> ManagementType:
        """Who manages the provider of ``key``; see ``management_type_of``."""
        return self.management_type_of(key.provider_id)

    def management_type_of(self, name: ProviderId) -> ManagementType:
        """Who manages a provider; UNKNOWN when neither the host's list nor its applied
        configuration names it."""
        ref = self.provider(name)
        if ref is not None:
            return ref.management_type
        trusted = self.archive.now.trusted
        listed = trusted is not None and name in trusted.providers
        return ManagementType.TRUST_AUTHORITY if listed else ManagementType.UNKNOWN

    def kdk(self, provider: ProviderId) -> KeyMaterial | None:
        """The key derivation key of a native provider; None when it is not here."""
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
        """What this host knows of ``key`` now; ``may_ask`` when vCenter may be rung for it."""
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
        """Those that no means on this host can give: why a VM is locked.

        A provider of which it takes no part locks nothing: no key could come (NKP-12). Nor does a
        key of a trusted provider that nobody has asked for yet (KPS-02).
        """
        cached = self.keys  # most are there, which is the first thing that is looked for
        return tuple([k for k in keys if k not in cached and self._lacks(k)])

    def _lacks(self, key: CryptoKeyId) -> bool:
        facts = self.facts(key)
        if next_means(facts) is KeyMeans.KEY_PROVIDER_SERVICE:
            return key in self.trust.unobtainable
        return not on_the_host(facts) and not self.is_excluded(key.provider_id)

    def key_sections(self) -> ConfigurationSection:
        """What to save for changed keys: nothing yet under ``config_save = hourly`` (C11)."""
        immediate = self.node.knobs.config_save == "immediate"
        return ConfigurationSection.KEYS if immediate else ConfigurationSection.NOTHING

    async def save(self, sections: ConfigurationSection) -> None:
        """Return when a change made just now is durable; a handler's turn ends before it waits.

        So the changes of those behind it go into the same write, or into the next one. ``now``
        only moves on in the order of turns, and each write takes it as it is then: what is
        durable is never of an order that was not. ``SaveFailed``: see ``Archive.save``.
        """
        self.node.end_turn()
        await self.archive.save(sections)

    # ---- high availability ------------------------------------------------------------------

    @property
    def ha(self) -> HaConfiguration | None:
        """What its HA agent works by; None when HA is off here."""
        return self.archive.now.ha

    def power_record(self, wanted: PowerState) -> PowerRecord:
        """A power command accepted here: the VM is this host's from now on."""
        epoch = "" if self.ha is None else self.ha.epoch
        return PowerRecord(wanted, self.node.name, epoch)

    # ---- views ------------------------------------------------------------------------------

    def vm_summary(self, vm: RegisteredVm) -> VmSummary:
        """A VM as told to vCenter, with the keys that are missing for it here."""
        locked = vm.config if vm.guest is None else None
        return vm.summary(() if locked is None else self.missing(locked.keys))

    async def look_at_locks(self) -> None:
        """Who else holds the locks of VMs that do not run here, for the next ``view``."""
        idle = [vm for vm in self.vms.values() if vm.guest is None]
        holders = await self.datastore.holders([vm.name for vm in idle]) if idle else {}
        for vm in idle:
            holder = holders.get(vm.name)
            vm.locked_by = None if holder == self.node.name else holder

    def summary(self, vms: tuple[VmSummary, ...] = ()) -> HostSummary:
        """What the host says of itself now, with what it says of its VMs."""
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
        """The host's own view of itself, whole, with its VMs by name."""
        return self.summary(tuple([self.vm_summary(self.vms[name]) for name in sorted(self.vms)]))

    def told_view(self) -> HostSummary:
        """The view that vCenter gets: the host's own, with what it claims."""
        view = self.view()
        if self.claims:
            view = with_claims(view, self.claims, self.missing)
        if view != self._view:
            self._view, self._views = view, self._views + 1
        return view

    @property
    def version(self) -> str:
        """Of the latest ``told_view``. Each other view has another one, in this life and in others.

        Nobody has to say that something changed: views are compared, whoever asks for them.
        """
        return f"{self.node.boot}/{self._views}"

    # ---- virtual machines -------------------------------------------------------------------

    def check_takes_vms(self) -> None:
        """``InvalidState`` in maintenance mode: no VM comes here, and none starts."""
        if self.archive.now.maintenance:
            raise InvalidState(f"{self.node.name} is in maintenance mode")

    def is_log_complete(self) -> bool:
        """Whether the event log could take every entry (ATT-10); one that cannot be read could
        not."""
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
        """``require_vm``; ``InvalidPowerState``, which says ``why``, while its guest runs here."""
        vm = self.require_vm(name)
        if vm.guest is not None:
            raise InvalidPowerState(f"{name} is running: {why}")
        return vm

    def running(self) -> tuple[RegisteredVm, ...]:
        """The VMs whose guests run here, in order of registration."""
        return tuple(vm for vm in self.vms.values() if vm.power is PowerState.ON)


def page(view: HostSummary, after: VmName | None = None) -> HostSummary:
    """``view`` with its VMs after ``after``: as many as fit into a message beside the providers."""
    left = tuple(vm for vm in view.vms if vm.vm > after) if after else view.vms
    beside = size_on_wire(view.providers) + size_on_wire(view.kdks)
    if view.trusted is not msgspec.UNSET:
        beside += size_on_wire(view.trusted)
    listed = first_page(left, budget=PAGE_BUDGET - beside)
    return msgspec.structs.replace(view, vms=listed, more_vms=len(listed) < len(left))
