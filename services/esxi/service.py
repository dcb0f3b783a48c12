"""The host's handlers: thin, one per message; the flows are in the modules they call.

Key store and archive work keeps its order in the queue ``keystore``, work on one VM in the
queue of that VM. vCenter's commands need its session; the host's own console needs none.
"""

from __future__ import annotations

from typing import Any, ClassVar

from protocol.errors import (
    InvalidArgument,
    InvalidPowerState,
    InvalidState,
    NotAvailable,
    ProductError,
    ResponseTooLarge,
)
from protocol.messages import host as m
from protocol.messages.base import Request
from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprints
from protocol.messages.host import TpmAttestationReport
from protocol.pages import fits
from protocol.terms import CryptoKeyId, Role, VmName
from protocol.tpm.errors import TpmError
from protocol.tpm.structures import EkKind, PcrSelection, TpmCredential
from services.esxi import boot, console, crypto_manager, dumps
from services.esxi.config import EsxiConfig
from services.esxi.configuration.sections import ConfigurationSection
from services.esxi.ha.agent import HaAgent, HaHandlers
from services.esxi.host import EsxiHost, page
from services.esxi.keys import key_status
from services.esxi.keys.key_status import list_fingerprints
from services.esxi.knobs import EsxiNode
from services.esxi.migration import vmotion
from services.esxi.providers import native
from services.esxi.vm_handlers import NONCE_LIMIT, EsxiVmHandlers, vm_turn
from services.esxi.vms import ownership, power, reconfigure, registration
from services.esxi.vms.guest import RunningGuest
from services.esxi.vms.vm import RegisteredVm, queue_of, summarize_disks
from services.esxi.vsan.handlers import EsxiVsanHandlers
from services.runtime.ports import Ports, Tpm
from services.runtime.service import Peer, Service, serves

# ---- intruder ------------------------------------------------------------------------------------
# Handlers for VMs that the host claims to have; see ``claims``.


class IntruderHandlers(Service):
    """Handlers of ``protocol.messages.host.session``; a subclass sets ``host``."""

    host: EsxiHost

    @serves(m.HostClaim)
    async def claim(self, message: m.HostClaim, peer: Peer) -> m.HostClaims:
        """Claim these VMs from now on; vCenter gets them with its next heartbeat."""
        if message.again and not self.host.claims:
            return m.HostClaims(vms=())
        self.host.claims = message.vms
        self.node.record("intruder.claims", level="warning", vms=len(message.vms))
        return m.HostClaims(vms=self.host.claims)

    @serves(m.QueryHostClaims)
    async def query_claims(self, message: m.QueryHostClaims, peer: Peer) -> m.HostClaims:
        """The VMs that the host claims now."""
        return m.HostClaims(vms=self.host.claims)


def _keystore(_: Any) -> str:
    return "keystore"


def _maintenance(_: Any) -> str:
    return "maintenance"


def _check_answer(keys: tuple[CryptoKeyId, ...], each: int, peer: Peer) -> None:
    """``ResponseTooLarge`` when the answer, ``each`` bytes a key beyond its id, would not fit.

    The host's own console has no such limit.
    """
    if not peer.local and not fits(keys, extra=each):
        raise ResponseTooLarge(f"the answer about {len(keys)} keys does not fit; ask in pages")


class EsxiService(EsxiVsanHandlers, HaHandlers, EsxiVmHandlers, IntruderHandlers):
    """One ESXi host; the docstring of the package is a map of it."""

    role: ClassVar[Role] = Role.ESXI
    node: EsxiNode

    def __init__(self, node: EsxiNode, ports: Ports, config: EsxiConfig) -> None:
        super().__init__(node, ports)
        self.host = EsxiHost(node, ports, config)
        self.ha = HaAgent(self.host)
        self._was_opened = False  # whether a session was opened in this life

    async def start(self) -> None:
        """Boot, steps B0 to B7; B8 and B9 run while the host serves."""
        await boot.boot(self.host)
        boot.start_loops(self.host, self.ha)

    async def stop(self) -> None:
        """Orderly end: running VMs stop, the configuration is saved, the TPM is shut down."""
        await power.stop_all(self.host)
        await self.ha.end()
        try:
            await self.host.archive.save()
        except ProductError as error:
            self.node.record("config.save_failed", level="error", reason=str(error))
        await boot.shut_down_tpm(self.host)

    def accept(self, message: Request[Any], peer: Peer) -> None:
        """Check who may send what, and that a command belongs to the session in force."""
        self.host.uplink.admit(message, peer)

    # ---- session and view -------------------------------------------------------------------

    @serves(m.OpenSession)
    async def open_session(self, message: m.OpenSession, peer: Peer) -> m.SessionOpened:
        """Step B8: vCenter takes command, and gets the host's view with the answer.

        Other hosts may have changed the configuration of VMs that do not run here while vCenter did
        not reach this host, so it is read again. The boot has just read it before the first session
        of a life.
        """
        self.node.record("session.opened", vcenter=peer.node)
        if self._was_opened:
            await registration.reread_configs(self.host)
        self._was_opened = True
        return m.SessionOpened(summary=await self._view(peer))

    @serves(m.QueryHost)
    async def query_host(self, message: m.QueryHost, peer: Peer) -> m.HostState:
        """The host's view, with the VMs after a cursor, or without any."""
        if not message.vms:
            return m.HostState(summary=self.host.summary())
        return m.HostState(summary=await self._view(peer, message.after))

    @serves(m.CheckForUpdates)
    async def check_for_updates(self, message: m.CheckForUpdates, peer: Peer) -> m.UpdateSet:
        """vCenter's heartbeat: the host's view, unless the version shows that vCenter has it."""
        await self.host.look_at_locks()
        view, version = self.host.view_for_vcenter(), self.host.version
        if message.version == version:
            return m.UpdateSet(version=version)
        return m.UpdateSet(version=version, summary=page(view))

    async def _view(self, peer: Peer, after: VmName | None = None) -> m.HostSummary:
        """As much of the host's view as fits into a message; all of it at the host's own
        console."""
        await self.host.look_at_locks()
        return self.host.view() if peer.local else page(self.host.view_for_vcenter(), after)

    # ---- TPM --------------------------------------------------------------------------------

    @serves(m.QueryTpmAttestationReport)
    async def attestation_report(
        self, message: m.QueryTpmAttestationReport, peer: Peer
    ) -> m.TpmAttestationReport:
        """Which TPM this is and what was booted, signed by the TPM (ATT-09)."""
        return await report_attestation(self.host, message.nonce, message.selection)

    @serves(m.ActivateTpmCredential)
    async def activate_credential(
        self, message: m.ActivateTpmCredential, peer: Peer
    ) -> m.TpmCredentialActivated:
        """Proof that the attestation key is in the TPM with that endorsement key."""
        secret = await activate_tpm_credential(self.host, message.credential)
        return m.TpmCredentialActivated(secret=secret)

    # ---- crypto manager ---------------------------------------------------------------------

    @serves(m.CryptoManagerHostPrepare, turn=_keystore)
    async def prepare(self, message: m.CryptoManagerHostPrepare, peer: Peer) -> m.Done:
        """See ``crypto_manager.prepare``."""
        await crypto_manager.prepare(self.host)
        return m.Done()

    @serves(m.CryptoManagerHostEnable, turn=_keystore)
    async def enable(self, message: m.CryptoManagerHostEnable, peer: Peer) -> m.Done:
        """See ``crypto_manager.enable``."""
        await crypto_manager.enable(self.host, message.key, message.material, message.check)
        return m.Done()

    @serves(m.ChangeHostKey, turn=_keystore)
    async def change_host_key(self, message: m.ChangeHostKey, peer: Peer) -> m.Done:
        """See ``crypto_manager.change_host_key``."""
        await crypto_manager.change_host_key(
            self.host, message.key, message.material, message.check
        )
        return m.Done()

    @serves(m.CryptoManagerHostDisable, turn=_keystore)
    async def disable(self, message: m.CryptoManagerHostDisable, peer: Peer) -> m.Done:
        """See ``crypto_manager.disable`` (HEM-03)."""
        await crypto_manager.disable(self.host)
        return m.Done()

    @serves(m.AddKeys, turn=_keystore)
    async def add_keys(self, message: m.AddKeys, peer: Peer) -> m.KeysAdded:
        """Keys that vCenter brings (STD-12), stored before the reply if persistence is on."""
        _check_answer(message.keys, m.RESULT_BYTES, peer)
        results = await crypto_manager.add_keys(
            self.host, message.keys, message.material, message.kind
        )
        return m.KeysAdded(results=results)

    @serves(m.RemoveKeys, turn=_keystore)
    async def remove_keys(self, message: m.RemoveKeys, peer: Peer) -> m.KeysRemoved:
        """Keys leave the cache, in use or not (LOCK-04), and by the knob the store."""
        _check_answer(message.keys, m.RESULT_BYTES, peer)
        return m.KeysRemoved(
            results=await crypto_manager.remove_keys(
                self.host, message.keys, withhold=message.withhold
            )
        )

    @serves(m.EvictKeys, turn=_keystore)
    async def evict_keys(self, message: m.EvictKeys, peer: Peer) -> m.KeysEvicted:
        """See ``crypto_manager.evict_provider`` (DEL-02)."""
        cached, stored = await crypto_manager.evict_provider(self.host, message.provider)
        return m.KeysEvicted(cached=cached, stored=stored)

    @serves(m.GetCryptoKeyStatus)
    async def key_status(self, message: m.GetCryptoKeyStatus, peer: Peer) -> m.KeyStatusList:
        """The status of the named keys, or of all cached or stored ones, page by page."""
        if message.keys:
            _check_answer(message.keys, key_status.status_size(managed=message.managed), peer)
            return key_status.statuses_of(self.host, message.keys, managed=message.managed)
        return key_status.list_statuses(
            self.host, message.after, managed=message.managed, in_pages=not peer.local
        )

    @serves(m.SetProviders, turn=_keystore)
    async def set_providers(self, message: m.SetProviders, peer: Peer) -> m.Done:
        """The list of key providers that vCenter keeps equal on all hosts (STD-10)."""
        given = native.kdks_by_provider(message.kdks, message.material)
        await crypto_manager.set_providers(self.host, message.providers, given)
        return m.Done()

    @serves(m.RemoveProvider, turn=_keystore)
    async def remove_provider(self, message: m.RemoveProvider, peer: Peer) -> m.Done:
        """See ``native.remove_provider``."""
        await native.remove_provider(self.host, message.provider)
        return m.Done()

    # ---- virtual machines -------------------------------------------------------------------

    @serves(m.HostCreateVm, turn=vm_turn)
    async def create_vm(self, message: m.HostCreateVm, peer: Peer) -> m.VmState:
        """See ``registration.create_vm``."""
        vm = await registration.create_from_message(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRegisterVm, turn=vm_turn)
    async def register_vm(self, message: m.HostRegisterVm, peer: Peer) -> m.VmState:
        """See ``vm_lifecycle.register_vm``."""
        vm = await registration.register_vm(self.host, message.vm)
        await ownership.claim_registered_vm(self.host, vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostUnregisterVm, turn=vm_turn)
    async def unregister_vm(self, message: m.HostUnregisterVm, peer: Peer) -> m.Done:
        """See ``vm_lifecycle.unregister_vm``."""
        await registration.unregister_vm(self.host, message.vm)
        return m.Done()

    @serves(m.HostDestroyVm, turn=vm_turn)
    async def destroy_vm(self, message: m.HostDestroyVm, peer: Peer) -> m.Done:
        """See ``vm_lifecycle.destroy_vm``."""
        await registration.destroy_vm(self.host, message.vm)
        return m.Done()

    @serves(m.ReconfigureVm, turn=vm_turn)
    async def reconfigure_vm(self, message: m.ReconfigureVm, peer: Peer) -> m.VmState:
        """Encrypt a powered-off VM; without a key the host makes one (KEY-02)."""
        vm = await reconfigure.encrypt_vm(self.host, message.vm, message.key, message.provider)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostRecryptVm, turn=vm_turn)
    async def recrypt_vm(self, message: m.HostRecryptVm, peer: Peer) -> m.VmState:
        """See ``reconfigure.recrypt_vm``."""
        vm = await reconfigure.recrypt_vm(self.host, message)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostDecryptVm, turn=vm_turn)
    async def decrypt_vm(self, message: m.HostDecryptVm, peer: Peer) -> m.VmState:
        """See ``reconfigure.decrypt_vm``."""
        vm = await reconfigure.decrypt_vm(self.host, message.vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostAddDisk, turn=vm_turn)
    async def add_disk(self, message: m.HostAddDisk, peer: Peer) -> m.DisksOfVm:
        """See ``reconfigure.add_disk``."""
        return self._disks(await reconfigure.add_disk(self.host, message))

    @serves(m.HostRemoveDisk, turn=vm_turn)
    async def remove_disk(self, message: m.HostRemoveDisk, peer: Peer) -> m.DisksOfVm:
        """See ``reconfigure.remove_disk``."""
        return self._disks(await reconfigure.remove_disk(self.host, message.vm, message.disk))

    def _disks(self, vm: RegisteredVm) -> m.DisksOfVm:
        there = () if vm.config is None else summarize_disks(vm.config)
        return m.DisksOfVm(summary=self.host.vm_summary(vm), disks=there)

    @serves(m.HostPowerOnVm, turn=vm_turn)
    async def power_on_vm(self, message: m.HostPowerOnVm, peer: Peer) -> m.VmState:
        """vCenter brings missing keys itself; for the local administrator the host asks it."""
        vm = await power.power_on(self.host, message.vm, ask=peer.local)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.HostPowerOffVm, turn=vm_turn)
    async def power_off_vm(self, message: m.HostPowerOffVm, peer: Peer) -> m.VmState:
        """See ``power.power_off``."""
        vm = await power.power_off(self.host, message.vm)
        return m.VmState(summary=self.host.vm_summary(vm))

    @serves(m.GuestWrite, turn=vm_turn)
    async def guest_write(self, message: m.GuestWrite, peer: Peer) -> m.GuestAnswer:
        """Write all blocks; the digest is over all blocks as read back, with an empty nonce."""
        guest = self._guest(message.vm)
        return await guest.fill(message.marker)

    @serves(m.GuestChallenge, turn=vm_turn)
    async def guest_challenge(self, message: m.GuestChallenge, peer: Peer) -> m.GuestAnswer:
        """The guest proves that it works: it reads from the datastore, and rewrites a block."""
        guest = self._guest(message.vm)
        return await guest.challenge(message.nonce, message.blocks, self.rng.stream("guest"))

    def _guest(self, name: VmName) -> RunningGuest:
        vm = self.host.require_vm(name)
        if vm.guest is None:
            raise InvalidPowerState(f"{name} is not running")
        return vm.guest

    # ---- migration --------------------------------------------------------------------------

    @serves(m.HostPrepareMigration, turn=vm_turn)
    async def prepare_migration(
        self, message: m.HostPrepareMigration, peer: Peer
    ) -> m.MigrationPrepared:
        """See ``vmotion.prepare_migration``."""
        vm = await vmotion.prepare_migration(self.host, message)
        return m.MigrationPrepared(summary=self.host.vm_summary(vm))

    @serves(m.HostMigrateVm, turn=vm_turn)
    async def migrate_vm(self, message: m.HostMigrateVm, peer: Peer) -> m.VmMigrated:
        """See ``vmotion.migrate_vm``."""
        return await vmotion.migrate_vm(self.host, message)

    @serves(m.SendMemory, turn=vm_turn)
    async def take_memory(self, message: m.SendMemory, peer: Peer) -> m.MemoryTaken:
        """See ``vmotion.receive_memory``."""
        vmotion.receive_memory(self.host, message, peer.node)
        return m.MemoryTaken()

    @serves(m.SwitchOver, turn=vm_turn)
    async def switch_over(self, message: m.SwitchOver, peer: Peer) -> m.SwitchedOver:
        """See ``vmotion.switch_over``; the host rings vCenter, in case it does not ask."""
        await vmotion.switch_over(self.host, message, peer.node)
        self.node.background("migration.ring", self._ring())
        return m.SwitchedOver()

    @serves(m.HostEndMigration, turn=vm_turn)
    async def end_migration(self, message: m.HostEndMigration, peer: Peer) -> m.MigrationEnded:
        """See ``vmotion.end_migration``."""
        vm = await vmotion.end_migration(self.host, message)
        return m.MigrationEnded(summary=None if vm is None else self.host.vm_summary(vm))

    async def _ring(self) -> None:
        await self.host.uplink.ring()

    # ---- maintenance mode -------------------------------------------------------------------

    @serves(m.HostEnterMaintenanceMode, turn=_maintenance)
    async def enter_maintenance_mode(
        self, message: m.HostEnterMaintenanceMode, peer: Peer
    ) -> m.Done:
        """See ``maintenance.enter``."""
        await enter_maintenance(self.host)
        return m.Done()

    @serves(m.HostExitMaintenanceMode, turn=_maintenance)
    async def exit_maintenance_mode(self, message: m.HostExitMaintenanceMode, peer: Peer) -> m.Done:
        """See ``maintenance.leave``."""
        await leave_maintenance(self.host)
        return m.Done()

    # ---- core dumps --------------------------------------------------------------------------

    @serves(m.WriteDump, turn=_keystore)
    async def write_dump(self, message: m.WriteDump, peer: Peer) -> m.DumpWritten:
        """See ``dumps.write_dump``."""
        return m.DumpWritten(dump=await dumps.write_dump(self.host, message))

    @serves(m.ListDumps)
    async def list_dumps(self, message: m.ListDumps, peer: Peer) -> m.DumpList:
        """See ``dumps.list_dumps``."""
        return m.DumpList(dumps=await dumps.list_dumps(self.host))

    @serves(m.DecryptDump)
    async def decrypt_dump(self, message: m.DecryptDump, peer: Peer) -> m.DumpDecrypted:
        """See ``dumps.decrypt_dump``."""
        dump, content = await dumps.decrypt_dump(self.host, message.dump)
        return m.DumpDecrypted(dump=dump, content=content)

    @serves(m.RemoveDump, turn=_keystore)
    async def remove_dump(self, message: m.RemoveDump, peer: Peer) -> m.Done:
        """See ``dumps.remove_dump``."""
        await dumps.remove_dump(self.host, message.dump)
        return m.Done()

    # ---- console ----------------------------------------------------------------------------

    @serves(m.Esxcli, turn=_keystore)
    async def esxcli(self, message: m.Esxcli, peer: Peer) -> m.EsxcliResult:
        """One command line at the console; the exit code is 1 when it is refused."""
        return await console.run(self.host, message.arguments)

    @serves(m.SaveConfiguration, turn=_keystore)
    async def save_configuration(self, message: m.SaveConfiguration, peer: Peer) -> m.Done:
        """The auto-backup script: save all sections of the configuration now (DUR-01)."""
        await console.back_up(self.host)
        return m.Done()

    @serves(FingerprintKeys)
    async def fingerprint_keys(self, message: FingerprintKeys, peer: Peer) -> KeyFingerprints:
        """Fingerprints of keys for the host's own console: whether keys are equal, not what they
        are."""
        return list_fingerprints(self.host, message)


# ---- attestation ---------------------------------------------------------------------------------
# The host's TPM reports to vCenter which TPM it is and what this boot measured (ATT-09). The host
# cannot change the result: the TPM signs keys, counters and registers, and the event log is checked
# by replaying it.


async def report_attestation(
    host: EsxiHost, nonce: bytes, selection: PcrSelection
) -> TpmAttestationReport:
    """A quote over ``nonce`` (64 bytes at most), the keys behind it, and the log of this boot.

    ``NotAvailable`` without a TPM, ``InvalidState`` when the TPM makes no quote.
    """
    if len(nonce) > NONCE_LIMIT:
        raise InvalidArgument(f"nonce: at most {NONCE_LIMIT} bytes")
    tpm = _require_tpm(host)
    try:
        ek, _ = await tpm.ek(EkKind.ECC_P256)
        ak, _ = await tpm.ak()
        quote = await tpm.quote(selection, nonce)
    except TpmError as error:
        raise InvalidState(f"the TPM of {host.node.name} gives no quote: {error}") from None
    reliable = host.is_log_complete()
    log = host.event_log if reliable else b""
    return TpmAttestationReport(ek=ek, ak=ak, quote=quote, event_log=log, log_reliable=reliable)


async def activate_tpm_credential(host: EsxiHost, credential: TpmCredential) -> bytes:
    """The secret in a credential; ``InvalidState`` when it was made for another TPM or key."""
    try:
        return await _require_tpm(host).activate(credential.id_object, credential.encrypted_seed)
    except TpmError as error:
        raise InvalidState(f"the TPM of {host.node.name} opens no credential: {error}") from None


def _require_tpm(host: EsxiHost) -> Tpm:
    if host.tpm is None:
        raise NotAvailable(f"{host.node.name} has no TPM")
    return host.tpm


# ---- maintenance ---------------------------------------------------------------------------------
# Maintenance mode is saved and outlives reboots. The host refuses VMs that would arrive or start.
# Powered-off VMs on it may leave, be encrypted and be unlocked. Keys arrive as at any other host.


async def enter_maintenance(host: EsxiHost) -> None:
    """Enter maintenance mode. ``InvalidState`` names the VMs that run here.

    First nothing new is started. Then it waits in each VM's queue for a start in progress, so that
    a VM that runs afterwards is seen.
    """
    was = host.archive.now.maintenance
    host.archive.change(maintenance=True)
    for name in list(host.vms):
        async with host.node.turn(queue_of(name)):
            pass
    running = sorted(vm.name for vm in host.running())
    if running:
        host.archive.change(maintenance=False)
        raise InvalidState(f"{host.node.name} runs {', '.join(running)}: power them off first")
    await host.archive.save(ConfigurationSection.MAINTENANCE)
    if not was:
        host.node.record("host.maintenance", on=True)


async def leave_maintenance(host: EsxiHost) -> None:
    """Leave maintenance mode; no change when the host is not in it."""
    was = host.archive.now.maintenance
    host.archive.change(maintenance=False)
    await host.archive.save(ConfigurationSection.MAINTENANCE)
    if was:
        host.node.record("host.maintenance", on=False)
