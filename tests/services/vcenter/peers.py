"""Peers of vCenter on the simulated bus that say only what their script says.

They share no code with the product's host and key server: a host here is a key cache, an
encryption mode and a list of VMs; a key server is a table of keys. What must outlive a boot
lies in the records below, as it would on a disk.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any, ClassVar

import msgspec

from protocol.errors import (
    AlreadyExists,
    CryptographicFailure,
    EncryptionKeyRequired,
    InvalidPowerState,
    InvalidState,
    NotAvailable,
    NotFound,
    ProductError,
    ResourceInUse,
    TimedOut,
)
from protocol.messages.base import Request, Sealed
from protocol.messages.host.crypto import (
    ActivateTpmCredential,
    AddKeys,
    ChangeHostKey,
    CryptoKeyResult,
    CryptoManagerHostDisable,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
    EvictKeys,
    GetCryptoKeyStatus,
    KeysAdded,
    KeysEvicted,
    KeysRemoved,
    KeyStatus,
    KeyStatusList,
    QueryTpmAttestationReport,
    QueryTrustedServices,
    RemoveKeys,
    SetProviders,
    TpmAttestationReport,
    TpmCredentialActivated,
    TrustedServices,
    TrustedServiceState,
)
from protocol.messages.host.session import (
    CheckForUpdates,
    Command,
    Done,
    HostEnterMaintenanceMode,
    HostExitMaintenanceMode,
    HostProblem,
    HostState,
    HostSummary,
    OpenSession,
    ProviderRef,
    QueryHost,
    SessionOpened,
    SetHaConfiguration,
    TrustView,
    UpdateSet,
    VirtualDisk,
    VmSummary,
)
from protocol.messages.host.vms import (
    HostCloneVm,
    HostCreateVm,
    HostDecryptVm,
    HostDestroyVm,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRecryptVm,
    HostRegisterVm,
    HostUnregisterVm,
    QueryVmConfig,
    ReconfigureVm,
    VmConfigState,
    VmState,
)
from protocol.messages.kms.keys import (
    Activate,
    AttributeList,
    CreateKey,
    DiscoverVersions,
    GetAttributes,
    GetKeys,
    KeyAttributes,
    KeyCreated,
    KeyState,
    KeyValue,
    KeyValues,
    ServerVersions,
)
from protocol.messages.vcenter.inventory import HostChanged
from protocol.pages import first_page
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KmipState,
    NodeName,
    PowerState,
    ProtectionMode,
    ProviderId,
    Role,
    VmConnectionState,
    VmCryptoState,
    VmName,
)
from services.runtime.service import Peer, Service, serves
from services.runtime.session import SessionGuard
from tests.services.vcenter.bench import Bench

VCENTER = NodeName("vcenter")


@dataclass
class ServerRecord:
    """What a key server has: value and state by id; ids by operation.

    ``asked``: GetKeys ids. ``asked_states``: GetAttributes ids.
    """

    keys: dict[KeyId, tuple[bytes, KmipState]] = field(default_factory=dict)
    operations: dict[str, KeyId] = field(default_factory=dict)
    asked: list[tuple[KeyId, ...]] = field(default_factory=list)
    asked_states: list[tuple[KeyId, ...]] = field(default_factory=list)
    errors: dict[str, ProductError] = field(default_factory=dict)  # message name -> answer
    damaged: set[KeyId] = field(default_factory=set)  # a message that asks for one fails whole

    def set_state(self, key: KeyId, state: KmipState) -> None:
        self.keys[key] = (self.keys[key][0], state)


class ScriptedKms(Service):
    role: ClassVar[Role] = Role.KMS

    def __init__(self, node: Any, ports: Any, record: ServerRecord) -> None:
        super().__init__(node, ports)
        self.record = record

    def accept(self, message: Request[Any], peer: Peer) -> None:
        if type(message).__name__ in self.record.errors:
            raise self.record.errors[type(message).__name__]

    @serves(DiscoverVersions)
    async def versions(self, message: DiscoverVersions, peer: Peer) -> ServerVersions:
        return ServerVersions(versions=("1.4",))

    @serves(CreateKey)
    async def create(self, message: CreateKey, peer: Peer) -> KeyCreated:
        key = self.record.operations.get(message.operation_id)
        if key is None:
            key = KeyId(f"{self.node.name}-key-{len(self.record.keys) + 1}")
            value = hashlib.sha256(f"value of {key}".encode()).digest()
            state = KmipState.ACTIVE if message.activate else KmipState.PRE_ACTIVE
            self.record.keys[key] = (value, state)
            self.record.operations[message.operation_id] = key
        value, state = self.record.keys[key]
        return KeyCreated(key_id=key, state=state, material=Sealed.of(KeyMaterial(value)))

    @serves(GetKeys)
    async def get(self, message: GetKeys, peer: Peer) -> KeyValues:
        self.record.asked.append(message.key_ids)
        if not self.record.damaged.isdisjoint(message.key_ids):
            raise CryptographicFailure("stored material does not unwrap")
        values: list[KeyValue] = []
        material: list[KeyMaterial] = []
        for key in message.key_ids:
            found = self.record.keys.get(key)
            if found is None:
                values.append(KeyValue(key_id=key, state=None))
            elif found[1] in (KmipState.DESTROYED, KmipState.DESTROYED_COMPROMISED):
                values.append(KeyValue(key_id=key, state=found[1]))
            else:
                values.append(KeyValue(key_id=key, state=found[1], index=len(material)))
                material.append(KeyMaterial(found[0]))
        return KeyValues(values=tuple(values), material=Sealed.of(*material))

    @serves(GetAttributes)
    async def attributes(self, message: GetAttributes, peer: Peer) -> AttributeList:
        self.record.asked_states.append(message.key_ids)
        known = [key for key in message.key_ids if key in self.record.keys]
        return AttributeList(
            keys=tuple(KeyAttributes(key_id=k, state=self.record.keys[k][1]) for k in known)
        )

    @serves(Activate)
    async def activate(self, message: Activate, peer: Peer) -> KeyState:
        self.record.set_state(message.key_id, KmipState.ACTIVE)
        return KeyState(key_id=message.key_id, state=KmipState.ACTIVE)


@dataclass
class VmRecord:
    """``locked_by``: another host, which holds its lock as this one sees it."""

    power: PowerState = PowerState.OFF
    keys: tuple[CryptoKeyId, ...] = ()
    locked_by: NodeName | None = None


@dataclass
class HostRecord:
    """What a host keeps over boots. ``persistence``: its cache and host key survive too.

    ``files``: VMs that lie on the datastore and are registered nowhere. ``bench``: its TPM, whose
    report says how it is now, and is there after so many seconds.
    """

    crypto_state: HostCryptoState = HostCryptoState.INCAPABLE
    host_key: CryptoKeyId | None = None
    providers: tuple[ProviderRef, ...] = ()
    vms: dict[VmName, VmRecord] = field(default_factory=dict)
    files: dict[VmName, VmRecord] = field(default_factory=dict)
    maintenance: bool = False
    persistence: bool = False
    recovery_id: str = ""
    problems: list[HostProblem] = field(default_factory=list)  # of its present boot
    cache: dict[CryptoKeyId, bytes] = field(default_factory=dict)
    errors: dict[str, ProductError] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)  # names of commands, in order of arrival
    makes_keys_of: set[ProviderId] = field(default_factory=set)
    kdks: dict[ProviderId, bytes] = field(default_factory=dict)
    tpm: bool = False  # one that nobody asks
    version: str = "8.0U3"
    bench: Bench | None = None
    attests_in_s: float = 0.0
    cloned: list[HostCloneVm] = field(default_factory=list)
    silent: bool = False  # it does what it is told, and the answer is lost
    trusted: TrustView | None = None
    served: tuple[TrustedServiceState, ...] = ()  # what services of a Trust Authority said to it


class ScriptedHost(Service):
    role: ClassVar[Role] = Role.ESXI

    def __init__(self, node: Any, ports: Any, record: HostRecord) -> None:
        super().__init__(node, ports)
        self.record = record
        self.guard = SessionGuard()
        self.views: list[object] = []  # each that differs from the one before

    async def start(self) -> None:
        record = self.record
        if not record.persistence:
            record.cache.clear()
            if record.crypto_state is HostCryptoState.SAFE:
                record.crypto_state = HostCryptoState.PREPARED
        if record.crypto_state is HostCryptoState.PENDING_INCAPABLE:
            record.crypto_state, record.host_key = HostCryptoState.INCAPABLE, None
        for vm in record.vms.values():
            vm.power = PowerState.OFF
        self.node.background("announce", self._announce())

    async def _announce(self) -> None:
        while not self.guard.session:
            try:
                await self.bus.request(VCENTER, HostChanged(boot=self.node.boot), within_s=5)
            except ProductError:
                pass
            await self.clock.sleep(5)

    def accept(self, message: Request[Any], peer: Peer) -> None:
        if isinstance(message, OpenSession):
            self.guard.open(message, peer.node)
        elif isinstance(message, Command) and not peer.local:
            self.guard.admit(message, peer.node)
        if isinstance(message, Command):
            self.record.seen.append(type(message).__name__)
            if type(message).__name__ in self.record.errors:
                raise self.record.errors[type(message).__name__]

    def vm_summary(self, name: VmName) -> VmSummary:
        vm = self.record.vms[name]
        on = vm.power is PowerState.ON
        missing = () if on else tuple(k for k in vm.keys if k not in self.record.cache)
        crypto = None
        if vm.keys:
            crypto = VmCryptoState.LOCKED if missing else VmCryptoState.UNLOCKED
        return VmSummary(
            vm=name,
            power=vm.power,
            crypto=crypto,
            connection=VmConnectionState.INVALID if missing else VmConnectionState.CONNECTED,
            keys=vm.keys,
            missing=missing,
            locked_by=None if on else vm.locked_by,
        )

    def summary(self, after: str = "") -> HostSummary:
        record = self.record
        left = [name for name in sorted(record.vms) if name > after]
        page = first_page(self.vm_summary(vm) for vm in left)
        return HostSummary(
            host=self.node.name,
            boot=self.node.boot,
            version=record.version,
            crypto_state=record.crypto_state,
            crypto_key_id=record.host_key,
            tpm_present=record.tpm or bool(record.recovery_id) or record.bench is not None,
            protection_mode=ProtectionMode.TPM if record.recovery_id else ProtectionMode.NONE,
            recovery_id=record.recovery_id,
            cached_keys=len(record.cache),
            providers=record.providers,
            kdks=tuple(record.kdks),
            vms=page,
            more_vms=len(page) < len(left),
            session=self.guard.session,
            in_maintenance_mode=record.maintenance,
            problems=tuple(record.problems) or msgspec.UNSET,
            trusted=record.trusted or msgspec.UNSET,
        )

    @serves(QueryTrustedServices)
    async def trusted_services(self, message: QueryTrustedServices, peer: Peer) -> TrustedServices:
        self.record.seen.append(type(message).__name__)
        return TrustedServices(services=self.record.served)

    @serves(OpenSession)
    async def open(self, message: OpenSession, peer: Peer) -> SessionOpened:
        return SessionOpened(summary=self.summary())

    @serves(SetHaConfiguration)
    async def configure_ha(self, message: SetHaConfiguration, peer: Peer) -> Done:
        return Done()

    @serves(CheckForUpdates)
    async def check(self, message: CheckForUpdates, peer: Peer) -> UpdateSet:
        view = self.summary()
        whole = (view, *map(self.vm_summary, sorted(self.record.vms)))
        if self.views[-1:] != [whole]:
            self.views.append(whole)
        version = f"{self.node.boot}/{len(self.views)}"
        return UpdateSet(version=version, summary=None if version == message.version else view)

    @serves(QueryHost)
    async def query(self, message: QueryHost, peer: Peer) -> HostState:
        return HostState(summary=self.summary(message.after))

    @serves(QueryTpmAttestationReport)
    async def attest(self, message: QueryTpmAttestationReport, peer: Peer) -> TpmAttestationReport:
        self.record.seen.append("QueryTpmAttestationReport")
        if "QueryTpmAttestationReport" in self.record.errors:
            raise self.record.errors["QueryTpmAttestationReport"]
        if self.record.bench is None:
            raise NotAvailable("no TPM")
        report = self.record.bench.report(message.nonce)
        await self.clock.sleep(self.record.attests_in_s)
        return report

    @serves(ActivateTpmCredential)
    async def activate(self, message: ActivateTpmCredential, peer: Peer) -> TpmCredentialActivated:
        if self.record.bench is None:
            raise NotAvailable("no TPM")
        return TpmCredentialActivated(secret=self.record.bench.opened(message.credential))

    @serves(CryptoManagerHostPrepare)
    async def prepare(self, message: CryptoManagerHostPrepare, peer: Peer) -> Done:
        if self.record.crypto_state is not HostCryptoState.INCAPABLE:
            raise InvalidState("not incapable")
        self.record.crypto_state = HostCryptoState.PREPARED
        return Done()

    @serves(CryptoManagerHostDisable)
    async def disable(self, message: CryptoManagerHostDisable, peer: Peer) -> Done:
        if self.record.crypto_state is HostCryptoState.PENDING_INCAPABLE:
            raise InvalidState("disabled already")
        if any(vm.keys for vm in self.record.vms.values()):
            raise ResourceInUse("encrypted VMs are here")
        safe = self.record.crypto_state is HostCryptoState.SAFE
        self.record.crypto_state = (
            HostCryptoState.PENDING_INCAPABLE if safe else HostCryptoState.INCAPABLE
        )
        return Done()

    @serves(CryptoManagerHostEnable)
    async def enable(self, message: CryptoManagerHostEnable, peer: Peer) -> Done:
        if self.record.crypto_state is HostCryptoState.INCAPABLE:
            raise InvalidState("not prepared")
        if self.record.crypto_state is HostCryptoState.SAFE and message.key != self.record.host_key:
            raise AlreadyExists("safe with another key")
        self._take_host_key(message.key, message.material)
        return Done()

    @serves(ChangeHostKey)
    async def change(self, message: ChangeHostKey, peer: Peer) -> Done:
        if self.record.crypto_state is not HostCryptoState.SAFE:
            raise InvalidState("not safe")
        self._take_host_key(message.key, message.material)
        return Done()

    def _take_host_key(self, key: CryptoKeyId, material: Sealed | None) -> None:
        self.record.crypto_state = HostCryptoState.SAFE
        self.record.host_key = key
        if material is not None:
            self.record.cache[key] = material.keys[0].reveal()

    @serves(AddKeys)
    async def add_keys(self, message: AddKeys, peer: Peer) -> KeysAdded:
        if self.record.crypto_state not in (HostCryptoState.PREPARED, HostCryptoState.SAFE):
            raise InvalidState("not prepared to receive keys")
        results: list[CryptoKeyResult] = []
        for key, material in zip(message.keys, message.material.keys, strict=True):
            had = key in self.record.cache
            self.record.cache[key] = material.reveal()
            fault = "AlreadyExists" if had else ""
            results.append(CryptoKeyResult(key=key, success=not had, fault=fault))
        return KeysAdded(results=tuple(results))

    @serves(RemoveKeys)
    async def remove_keys(self, message: RemoveKeys, peer: Peer) -> KeysRemoved:
        for key in message.keys:
            self.record.cache.pop(key, None)
        return KeysRemoved(
            results=tuple(CryptoKeyResult(key=key, success=True) for key in message.keys)
        )

    @serves(EvictKeys)
    async def evict_keys(self, message: EvictKeys, peer: Peer) -> KeysEvicted:
        """Its cache outlives a boot with persistence, so it is the store too."""
        theirs = [key for key in self.record.cache if key.provider_id == message.provider]
        for key in theirs:
            del self.record.cache[key]
        return KeysEvicted(cached=len(theirs), stored=0)

    @serves(GetCryptoKeyStatus)
    async def key_status(self, message: GetCryptoKeyStatus, peer: Peer) -> KeyStatusList:
        keys = message.keys or tuple(self.record.cache)
        return KeyStatusList(
            keys=tuple(KeyStatus(key=key, present=key in self.record.cache) for key in keys)
        )

    @serves(SetProviders)
    async def set_providers(self, message: SetProviders, peer: Peer) -> Done:
        clear = () if message.material is None else message.material.keys
        given = dict(zip(message.kdks, (kdk.reveal() for kdk in clear), strict=True))
        had = {ref: self.record.kdks.get(ref.provider_id) for ref in self.record.providers}
        kept = {ref.provider_id: kdk for ref in message.providers if (kdk := had.get(ref))}
        self.record.kdks = {**kept, **given}
        self.record.providers = message.providers
        return Done()

    @serves(HostCreateVm)
    async def create_vm(self, message: HostCreateVm, peer: Peer) -> VmState:
        if message.key is not None and message.key not in self.record.cache:
            raise EncryptionKeyRequired("no such key here", (message.key,))
        keys = () if message.key is None else (message.key,)
        self.record.vms.setdefault(message.vm, VmRecord(keys=keys))
        return VmState(summary=self.vm_summary(message.vm))

    @serves(HostCloneVm)
    async def clone_vm(self, message: HostCloneVm, peer: Peer) -> VmState:
        self.record.cloned.append(message)
        own = () if message.key is None else (message.key,)
        keys = own if message.recrypt else self.record.vms[message.source].keys
        if lacking := tuple(key for key in keys if key not in self.record.cache):
            raise EncryptionKeyRequired("no such key here", lacking)
        self.record.vms.setdefault(message.vm, VmRecord(keys=keys))
        return VmState(summary=self.vm_summary(message.vm))

    @serves(HostEnterMaintenanceMode)
    async def enter_maintenance(self, message: HostEnterMaintenanceMode, peer: Peer) -> Done:
        if any(vm.power is PowerState.ON for vm in self.record.vms.values()):
            raise InvalidState("VMs run here")
        self.record.maintenance = True
        return Done()

    @serves(HostExitMaintenanceMode)
    async def exit_maintenance(self, message: HostExitMaintenanceMode, peer: Peer) -> Done:
        self.record.maintenance = False
        return Done()

    @serves(HostRegisterVm)
    async def register_vm(self, message: HostRegisterVm, peer: Peer) -> VmState:
        if message.vm not in self.record.vms:
            if message.vm not in self.record.files:
                raise NotFound(f"{message.vm} has no files")
            self.record.vms[message.vm] = self.record.files.pop(message.vm)
        return VmState(summary=self.vm_summary(message.vm))

    @serves(HostUnregisterVm)
    async def unregister_vm(self, message: HostUnregisterVm, peer: Peer) -> Done:
        vm = self.record.vms.pop(message.vm, None)
        if vm is not None:
            self.record.files[message.vm] = vm
        return Done()

    @serves(HostDestroyVm)
    async def destroy_vm(self, message: HostDestroyVm, peer: Peer) -> Done:
        self.record.vms.pop(message.vm, None)
        return Done()

    def _vm(self, name: VmName) -> VmRecord:
        if name not in self.record.vms:
            raise NotFound(f"no {name} here")
        return self.record.vms[name]

    @serves(ReconfigureVm)
    async def reconfigure(self, message: ReconfigureVm, peer: Peer) -> VmState:
        vm = self._vm(message.vm)
        if message.key is None:
            return self._made_here(message)
        if vm.power is PowerState.ON:
            raise InvalidPowerState("it runs")
        if self.record.crypto_state is not HostCryptoState.SAFE:
            raise InvalidState("not safe")
        if vm.keys and vm.keys != (message.key,):
            raise InvalidState("encrypted already")
        if message.key not in self.record.cache:
            raise EncryptionKeyRequired("no such key here", (message.key,))
        vm.keys = (message.key,)
        return VmState(summary=self.vm_summary(message.vm))

    def _made_here(self, message: ReconfigureVm) -> VmState:
        """Encrypt with a key that this host makes, if its provider is one of ``makes_keys_of``."""
        vm, provider = self._vm(message.vm), message.provider
        if provider is None or provider not in self.record.makes_keys_of:
            raise NotAvailable(f"{self.node.name} makes no keys of {provider}")
        if not vm.keys:
            vm.keys = (CryptoKeyId(KeyId(f"made on {self.node.name}"), provider),)
            self.record.cache[vm.keys[0]] = b"?" * 32
        return VmState(summary=self.vm_summary(message.vm))

    @serves(QueryVmConfig)
    async def query_vm_config(self, message: QueryVmConfig, peer: Peer) -> VmConfigState:
        """Two disks, under the VM's first key."""
        key = next(iter(self._vm(message.vm).keys), None)
        disks = tuple(VirtualDisk(disk=number, blocks=8, key=key) for number in (1, 2))
        return VmConfigState(
            firmware="efi", hardware=21, home_encrypted=key is not None, disks=disks, vtpm=False
        )

    @serves(HostRecryptVm)
    async def recrypt(self, message: HostRecryptVm, peer: Peer) -> VmState:
        """All of it under the key that it is given, or one that this host makes; a disk of it
        comes under a key beside."""
        vm = self._vm(message.vm)
        key = message.key or CryptoKeyId(KeyId(f"made on {self.node.name}"), message.provider)
        if vm.keys == message.old and vm.keys:
            if message.key is not None and key not in self.record.cache:
                raise EncryptionKeyRequired("no such key here", (key,))
            vm.keys = (key,) if message.disk is None else (vm.keys[0], key)
        elif key not in vm.keys:
            raise InvalidState(f"{message.vm} is under {vm.keys}")
        if self.record.silent:
            raise TimedOut("the answer is lost")
        return VmState(summary=self.vm_summary(message.vm))

    @serves(HostDecryptVm)
    async def decrypt(self, message: HostDecryptVm, peer: Peer) -> VmState:
        self._vm(message.vm).keys = ()
        return VmState(summary=self.vm_summary(message.vm))

    @serves(HostPowerOnVm)
    async def power_on(self, message: HostPowerOnVm, peer: Peer) -> VmState:
        vm = self._vm(message.vm)
        missing = tuple(k for k in vm.keys if k not in self.record.cache)
        if vm.power is PowerState.OFF and missing:
            raise EncryptionKeyRequired("keys are missing", missing)
        vm.power = PowerState.ON
        return VmState(summary=self.vm_summary(message.vm))

    @serves(HostPowerOffVm)
    async def power_off(self, message: HostPowerOffVm, peer: Peer) -> VmState:
        self._vm(message.vm).power = PowerState.OFF
        return VmState(summary=self.vm_summary(message.vm))
