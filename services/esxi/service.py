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
from protocol.messages.base import Request
from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprints
from protocol.messages.host import crypto as crypto_messages
from protocol.messages.host import session as session_messages
from protocol.messages.host import vms as vm_messages
from protocol.messages.host.crypto import TpmAttestationReport
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

    @serves(session_messages.HostClaim)
    async def claim(
        self, message: session_messages.HostClaim, peer: Peer
    ) -> session_messages.HostClaims:
        """Claim these VMs from now on; vCenter gets them with its next heartbeat."""
        if message.again and not self.host.claims:
            return session_messages.HostClaims(vms=())
        self.host.claims = message.vms
        self.node.record("intruder.claims", level="warning", vms=len(message.vms))
        return session_messages.HostClaims(vms=self.host.claims)

    @serves(session_messages.QueryHostClaims)
    async def query_claims(
        self, message: session_messages.QueryHostClaims, peer: Peer
    ) -> session_messages.HostClaims:
        """The VMs that the host claims now."""
        return session_messages.HostClaims(vms=self.host.claims)


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

    @serves(session_messages.OpenSession)
    async def open_session(
        self, message: session_messages.OpenSession, peer: Peer
    ) -> session_messages.SessionOpened:
        """Step B8: vCenter takes command, and gets the host's view with the answer.

        Other hosts may have changed the configuration of VMs that do not run here while vCenter did
        not reach this host, so it is read again. The boot has just read it before the first session
        of a life.
        """
        self.node.record("session.opened", vcenter=peer.node)
        if self._was_opened:
            await registration.reread_configs(self.host)
        self._was_opened = True
        return session_messages.SessionOpened(summary=await self._view(peer))

    @serves(session_messages.QueryHost)
    async def query_host(
        self, message: session_messages.QueryHost, peer: Peer
    ) -> session_messages.HostState:
        """The host's view, with the VMs after a cursor, or without any."""
        if not message.vms:
            return session_messages.HostState(summary=self.host.summary())
        return session_messages.HostState(summary=await self._view(peer, message.after))

    @serves(session_messages.CheckForUpdates)
    async def check_for_updates(
        self, message: session_messages.CheckForUpdates, peer: Peer
    ) -> session_messages.UpdateSet:
        """vCenter's heartbeat: the host's view, unless the version shows that vCenter has it."""
        await self.host.look_at_locks()
        view, version = self.host.view_for_vcenter(), self.host.version
        if message.version == version:
            return session_messages.UpdateSet(version=version)
        return session_messages.UpdateSet(version=version, summary=page(view))

    async def _view(self, peer: Peer, after: VmName | None = None) -> session_messages.HostSummary:
        """As much of the host's view as fits into a message; all of it at the host's own
        console."""
        await self.host.look_at_locks()
        return self.host.view() if peer.local else page(self.host.view_for_vcenter(), after)

    # ---- TPM --------------------------------------------------------------------------------

    @serves(crypto_messages.QueryTpmAttestationReport)
    async def attestation_report(
        self, message: crypto_messages.QueryTpmAttestationReport, peer: Peer
    ) -> crypto_messages.TpmAttestationReport:
        """Which TPM this is and what was booted, signed by the TPM (ATT-09)."""
        return await report_attestation(self.host, message.nonce, message.selection)

    @serves(crypto_messages.ActivateTpmCredential)
    async def activate_credential(
        self, message: crypto_messages.ActivateTpmCredential, peer: Peer
    ) -> crypto_messages.TpmCredentialActivated:
        """Proof that the attestation key is in the TPM with that endorsement key."""
        secret = await activate_tpm_credential(self.host, message.credential)
        return crypto_messages.TpmCredentialActivated(secret=secret)

    # ---- crypto manager ---------------------------------------------------------------------

    @serves(crypto_messages.CryptoManagerHostPrepare, turn=_keystore)
    async def prepare(
        self, message: crypto_messages.CryptoManagerHostPrepare, peer: Peer
    ) -> session_messages.Done:
        """See ``crypto_manager.prepare``."""
        await crypto_manager.prepare(self.host)
        return session_messages.Done()

    @serves(crypto_messages.CryptoManagerHostEnable, turn=_keystore)
    async def enable(
        self, message: crypto_messages.CryptoManagerHostEnable, peer: Peer
    ) -> session_messages.Done:
        """See ``crypto_manager.enable``."""
        await crypto_manager.enable(self.host, message.key, message.material, message.check)
        return session_messages.Done()

    @serves(crypto_messages.ChangeHostKey, turn=_keystore)
    async def change_host_key(
        self, message: crypto_messages.ChangeHostKey, peer: Peer
    ) -> session_messages.Done:
        """See ``crypto_manager.change_host_key``."""
        await crypto_manager.change_host_key(
            self.host, message.key, message.material, message.check
        )
        return session_messages.Done()

    @serves(crypto_messages.CryptoManagerHostDisable, turn=_keystore)
    async def disable(
        self, message: crypto_messages.CryptoManagerHostDisable, peer: Peer
    ) -> session_messages.Done:
        """See ``crypto_manager.disable`` (HEM-03)."""
        await crypto_manager.disable(self.host)
        return session_messages.Done()

    @serves(crypto_messages.AddKeys, turn=_keystore)
    async def add_keys(
        self, message: crypto_messages.AddKeys, peer: Peer
    ) -> crypto_messages.KeysAdded:
        """Keys that vCenter brings (STD-12), stored before the reply if persistence is on."""
        _check_answer(message.keys, crypto_messages.RESULT_BYTES, peer)
        results = await crypto_manager.add_keys(
            self.host, message.keys, message.material, message.kind
        )
        return crypto_messages.KeysAdded(results=results)

    @serves(crypto_messages.RemoveKeys, turn=_keystore)
    async def remove_keys(
        self, message: crypto_messages.RemoveKeys, peer: Peer
    ) -> crypto_messages.KeysRemoved:
        """Keys leave the cache, in use or not (LOCK-04), and by the knob the store."""
        _check_answer(message.keys, crypto_messages.RESULT_BYTES, peer)
        return crypto_messages.KeysRemoved(
            results=await crypto_manager.remove_keys(
                self.host, message.keys, withhold=message.withhold
            )
        )

    @serves(crypto_messages.EvictKeys, turn=_keystore)
    async def evict_keys(
        self, message: crypto_messages.EvictKeys, peer: Peer
    ) -> crypto_messages.KeysEvicted:
        """See ``crypto_manager.evict_provider`` (DEL-02)."""
        cached, stored = await crypto_manager.evict_provider(self.host, message.provider)
        return crypto_messages.KeysEvicted(cached=cached, stored=stored)

    @serves(crypto_messages.GetCryptoKeyStatus)
    async def key_status(
        self, message: crypto_messages.GetCryptoKeyStatus, peer: Peer
    ) -> crypto_messages.KeyStatusList:
        """The status of the named keys, or of all cached or stored ones, page by page."""
        if message.keys:
            _check_answer(message.keys, key_status.status_size(managed=message.managed), peer)
            return key_status.statuses_of(self.host, message.keys, managed=message.managed)
        return key_status.list_statuses(
            self.host, message.after, managed=message.managed, in_pages=not peer.local
        )

    @serves(crypto_messages.SetProviders, turn=_keystore)
    async def set_providers(
        self, message: crypto_messages.SetProviders, peer: Peer
    ) -> session_messages.Done:
        """The list of key providers that vCenter keeps equal on all hosts (STD-10)."""
        given = native.kdks_by_provider(message.kdks, message.material)
        await crypto_manager.set_providers(self.host, message.providers, given)
        return session_messages.Done()

    @serves(crypto_messages.RemoveProvider, turn=_keystore)
    async def remove_provider(
        self, message: crypto_messages.RemoveProvider, peer: Peer
    ) -> session_messages.Done:
        """See ``native.remove_provider``."""
        await native.remove_provider(self.host, message.provider)
        return session_messages.Done()

    # ---- virtual machines -------------------------------------------------------------------

    @serves(vm_messages.HostCreateVm, turn=vm_turn)
    async def create_vm(self, message: vm_messages.HostCreateVm, peer: Peer) -> vm_messages.VmState:
        """See ``registration.create_vm``."""
        vm = await registration.create_from_message(self.host, message)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostRegisterVm, turn=vm_turn)
    async def register_vm(
        self, message: vm_messages.HostRegisterVm, peer: Peer
    ) -> vm_messages.VmState:
        """See ``vm_lifecycle.register_vm``."""
        vm = await registration.register_vm(self.host, message.vm)
        await ownership.claim_registered_vm(self.host, vm)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostUnregisterVm, turn=vm_turn)
    async def unregister_vm(
        self, message: vm_messages.HostUnregisterVm, peer: Peer
    ) -> session_messages.Done:
        """See ``vm_lifecycle.unregister_vm``."""
        await registration.unregister_vm(self.host, message.vm)
        return session_messages.Done()

    @serves(vm_messages.HostDestroyVm, turn=vm_turn)
    async def destroy_vm(
        self, message: vm_messages.HostDestroyVm, peer: Peer
    ) -> session_messages.Done:
        """See ``vm_lifecycle.destroy_vm``."""
        await registration.destroy_vm(self.host, message.vm)
        return session_messages.Done()

    @serves(vm_messages.ReconfigureVm, turn=vm_turn)
    async def reconfigure_vm(
        self, message: vm_messages.ReconfigureVm, peer: Peer
    ) -> vm_messages.VmState:
        """Encrypt a powered-off VM; without a key the host makes one (KEY-02)."""
        vm = await reconfigure.encrypt_vm(self.host, message.vm, message.key, message.provider)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostRecryptVm, turn=vm_turn)
    async def recrypt_vm(
        self, message: vm_messages.HostRecryptVm, peer: Peer
    ) -> vm_messages.VmState:
        """See ``reconfigure.recrypt_vm``."""
        vm = await reconfigure.recrypt_vm(self.host, message)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostDecryptVm, turn=vm_turn)
    async def decrypt_vm(
        self, message: vm_messages.HostDecryptVm, peer: Peer
    ) -> vm_messages.VmState:
        """See ``reconfigure.decrypt_vm``."""
        vm = await reconfigure.decrypt_vm(self.host, message.vm)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostAddDisk, turn=vm_turn)
    async def add_disk(self, message: vm_messages.HostAddDisk, peer: Peer) -> vm_messages.DisksOfVm:
        """See ``reconfigure.add_disk``."""
        return self._disks(await reconfigure.add_disk(self.host, message))

    @serves(vm_messages.HostRemoveDisk, turn=vm_turn)
    async def remove_disk(
        self, message: vm_messages.HostRemoveDisk, peer: Peer
    ) -> vm_messages.DisksOfVm:
        """See ``reconfigure.remove_disk``."""
        return self._disks(await reconfigure.remove_disk(self.host, message.vm, message.disk))

    def _disks(self, vm: RegisteredVm) -> vm_messages.DisksOfVm:
        there = () if vm.config is None else summarize_disks(vm.config)
        return vm_messages.DisksOfVm(summary=self.host.vm_summary(vm), disks=there)

    @serves(vm_messages.HostPowerOnVm, turn=vm_turn)
    async def power_on_vm(
        self, message: vm_messages.HostPowerOnVm, peer: Peer
    ) -> vm_messages.VmState:
        """vCenter brings missing keys itself; for the local administrator the host asks it."""
        vm = await power.power_on(self.host, message.vm, ask=peer.local)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostPowerOffVm, turn=vm_turn)
    async def power_off_vm(
        self, message: vm_messages.HostPowerOffVm, peer: Peer
    ) -> vm_messages.VmState:
        """See ``power.power_off``."""
        vm = await power.power_off(self.host, message.vm)
        return vm_messages.VmState(summary=self.host.vm_summary(vm))

    @serves(vm_messages.GuestWrite, turn=vm_turn)
    async def guest_write(
        self, message: vm_messages.GuestWrite, peer: Peer
    ) -> vm_messages.GuestAnswer:
        """Write all blocks; the digest is over all blocks as read back, with an empty nonce."""
        guest = self._guest(message.vm)
        return await guest.fill(message.marker)

    @serves(vm_messages.GuestChallenge, turn=vm_turn)
    async def guest_challenge(
        self, message: vm_messages.GuestChallenge, peer: Peer
    ) -> vm_messages.GuestAnswer:
        """The guest proves that it works: it reads from the datastore, and rewrites a block."""
        guest = self._guest(message.vm)
        return await guest.challenge(message.nonce, message.blocks, self.rng.stream("guest"))

    def _guest(self, name: VmName) -> RunningGuest:
        vm = self.host.require_vm(name)
        if vm.guest is None:
            raise InvalidPowerState(f"{name} is not running")
        return vm.guest

    # ---- migration --------------------------------------------------------------------------

    @serves(vm_messages.HostPrepareMigration, turn=vm_turn)
    async def prepare_migration(
        self, message: vm_messages.HostPrepareMigration, peer: Peer
    ) -> vm_messages.MigrationPrepared:
        """See ``vmotion.prepare_migration``."""
        vm = await vmotion.prepare_migration(self.host, message)
        return vm_messages.MigrationPrepared(summary=self.host.vm_summary(vm))

    @serves(vm_messages.HostMigrateVm, turn=vm_turn)
    async def migrate_vm(
        self, message: vm_messages.HostMigrateVm, peer: Peer
    ) -> vm_messages.VmMigrated:
        """See ``vmotion.migrate_vm``."""
        return await vmotion.migrate_vm(self.host, message)

    @serves(vm_messages.SendMemory, turn=vm_turn)
    async def take_memory(
        self, message: vm_messages.SendMemory, peer: Peer
    ) -> vm_messages.MemoryTaken:
        """See ``vmotion.receive_memory``."""
        vmotion.receive_memory(self.host, message, peer.node)
        return vm_messages.MemoryTaken()

    @serves(vm_messages.SwitchOver, turn=vm_turn)
    async def switch_over(
        self, message: vm_messages.SwitchOver, peer: Peer
    ) -> vm_messages.SwitchedOver:
        """See ``vmotion.switch_over``; the host rings vCenter, in case it does not ask."""
        await vmotion.switch_over(self.host, message, peer.node)
        self.node.background("migration.ring", self._ring())
        return vm_messages.SwitchedOver()

    @serves(vm_messages.HostEndMigration, turn=vm_turn)
    async def end_migration(
        self, message: vm_messages.HostEndMigration, peer: Peer
    ) -> vm_messages.MigrationEnded:
        """See ``vmotion.end_migration``."""
        vm = await vmotion.end_migration(self.host, message)
        return vm_messages.MigrationEnded(summary=None if vm is None else self.host.vm_summary(vm))

    async def _ring(self) -> None:
        await self.host.uplink.ring()

    # ---- maintenance mode -------------------------------------------------------------------

    @serves(session_messages.HostEnterMaintenanceMode, turn=_maintenance)
    async def enter_maintenance_mode(
        self, message: session_messages.HostEnterMaintenanceMode, peer: Peer
    ) -> session_messages.Done:
        """See ``maintenance.enter``."""
        await enter_maintenance(self.host)
        return session_messages.Done()

    @serves(session_messages.HostExitMaintenanceMode, turn=_maintenance)
    async def exit_maintenance_mode(
        self, message: session_messages.HostExitMaintenanceMode, peer: Peer
    ) -> session_messages.Done:
        """See ``maintenance.leave``."""
        await leave_maintenance(self.host)
        return session_messages.Done()

    # ---- core dumps --------------------------------------------------------------------------

    @serves(crypto_messages.WriteDump, turn=_keystore)
    async def write_dump(
        self, message: crypto_messages.WriteDump, peer: Peer
    ) -> crypto_messages.DumpWritten:
        """See ``dumps.write_dump``."""
        return crypto_messages.DumpWritten(dump=await dumps.write_dump(self.host, message))

    @serves(crypto_messages.ListDumps)
    async def list_dumps(
        self, message: crypto_messages.ListDumps, peer: Peer
    ) -> crypto_messages.DumpList:
        """See ``dumps.list_dumps``."""
        return crypto_messages.DumpList(dumps=await dumps.list_dumps(self.host))

    @serves(crypto_messages.DecryptDump)
    async def decrypt_dump(
        self, message: crypto_messages.DecryptDump, peer: Peer
    ) -> crypto_messages.DumpDecrypted:
        """See ``dumps.decrypt_dump``."""
        dump, content = await dumps.decrypt_dump(self.host, message.dump)
        return crypto_messages.DumpDecrypted(dump=dump, content=content)

    @serves(crypto_messages.RemoveDump, turn=_keystore)
    async def remove_dump(
        self, message: crypto_messages.RemoveDump, peer: Peer
    ) -> session_messages.Done:
        """See ``dumps.remove_dump``."""
        await dumps.remove_dump(self.host, message.dump)
        return session_messages.Done()

    # ---- console ----------------------------------------------------------------------------

    @serves(session_messages.Esxcli, turn=_keystore)
    async def esxcli(
        self, message: session_messages.Esxcli, peer: Peer
    ) -> session_messages.EsxcliResult:
        """One command line at the console; the exit code is 1 when it is refused."""
        return await console.run(self.host, message.arguments)

    @serves(session_messages.SaveConfiguration, turn=_keystore)
    async def save_configuration(
        self, message: session_messages.SaveConfiguration, peer: Peer
    ) -> session_messages.Done:
        """The auto-backup script: save all sections of the configuration now (DUR-01)."""
        await console.back_up(self.host)
        return session_messages.Done()

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
